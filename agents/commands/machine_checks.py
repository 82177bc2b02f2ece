"""What ``hecaton doctor`` looks at on the machine itself: disks, memory, limits, namespaces, proxies."""

from __future__ import annotations

import resource
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from agents.brains.registry import registry_of
from agents.commands.findings import Check
from agents.config import Settings

GIB = 1024**3
_DISK_BYTES = 2 * GIB
"""Ray's session files, a database and a few workspaces."""
_SHM_BYTES = GIB // 2
"""Ray's object store spills to disk, slowly, when shared memory is smaller."""
_MEMORY_BYTES = 3 * GIB // 2
"""The deployment takes about 1 GB before any session."""
_OPEN_FILES = 8192
"""Of one process: a connection for each event stream and sandbox. Ray raises the soft limit to the hard one."""
_SHM = "/dev/shm"  # noqa: S108 - asked about, not written to
_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
_FLEETING = ("tmpfs", "ramfs")
_SHARED = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.s3fs")
_NAMESPACES = {
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
    "user.max_user_namespaces": ("0", "15000"),
}
"""What forbids user namespaces: the value that does, and one that does not."""


def check_data_dir(folder: Path) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check("data directory", "problem", f"{folder}: {error.strerror}", "choose another: --data-dir")
    return Check("data directory", "ok", f"{folder} is writable")


def check_disk(folder: Path) -> Check:
    free = shutil.disk_usage(_existing(folder)).free
    found = f"{free / GIB:.1f} GiB free"
    if free < _DISK_BYTES:
        return Check("disk", "problem", found, f"free at least {_DISK_BYTES / GIB:.0f} GiB, or use another --data-dir")
    return Check("disk", "ok", found)


def check_file_system(settings: Settings) -> Check:
    """Whether the data directory's file system keeps what is written, and locks files as SQLite needs it."""
    name, kind = "file system", _kind_of(_existing(settings.data_dir))
    if kind in _FLEETING:
        remedy = "put the data directory on a disk: --data-dir"
        return Check(name, "note", f"{kind}: everything is gone when the machine starts anew", remedy)
    if kind == "overlay":
        remedy = "mount a volume for the data directory"
        return Check(name, "note", "overlay: everything is gone when the container is removed", remedy)
    if kind in _SHARED and settings.database_url is None:
        remedy = "put the data directory on a local disk, or set database_url (PostgreSQL)"
        return Check(name, "problem", f"{kind}: SQLite's locks do not hold on a network file system", remedy)
    return Check(name, "ok", kind or "unknown")


def check_shared_memory() -> Check:
    try:
        free = shutil.disk_usage(_SHM).free
    except OSError:
        return Check("shared memory", "note", f"{_SHM} is missing", "Ray will keep objects on disk, which is slower")
    found = f"{free / GIB:.1f} GiB free in {_SHM}"
    if free < _SHM_BYTES:
        return Check("shared memory", "note", found, "in a container: start it with a larger --shm-size")
    return Check("shared memory", "ok", found)


def check_memory() -> Check:
    """Available memory: of the machine, and of the control group that this process may not leave."""
    try:
        lines = (_PROC / "meminfo").read_text().splitlines()
    except OSError:
        return Check("memory", "note", "unknown (no /proc/meminfo)")
    available = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), 0)
    found, remedy = f"{available / GIB:.1f} GiB available", "the server and Ray need about 1.5 GiB"
    room = min(_rooms(), default=available)
    if room < available:
        available = max(room, 0)
        found = f"{available / GIB:.1f} GiB left below the limit of this control group (cgroup)"
        remedy = f"{remedy}: raise the container's or the service's memory limit"
    return Check(
        "memory", "note" if available < _MEMORY_BYTES else "ok", found, remedy if available < _MEMORY_BYTES else ""
    )


def check_open_files() -> Check:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _OPEN_FILES:
        remedy = (
            f"raise the hard limit (ulimit -Hn) to {_OPEN_FILES} or more: limits.conf, LimitNOFILE=, --ulimit nofile="
        )
        return Check("open files", "problem", f"a process may open {hard}", remedy)
    return Check("open files", "ok", "as many as needed" if hard == resource.RLIM_INFINITY else f"up to {hard}")


def namespace_faults() -> dict[str, str]:
    """Return the kernel's settings that forbid user namespaces to others than root, and a value that does not."""
    faults: dict[str, str] = {}
    for name, (forbids, allows) in _NAMESPACES.items():
        try:
            value = (_PROC / "sys" / name.replace(".", "/")).read_text().strip()
        except OSError:
            continue  # this kernel has no such setting
        if value == forbids:
            faults[name] = allows
    return faults


def check_proxies(settings: Settings) -> Check:
    """Whether a proxy of the environment stands between programs and servers on this very machine."""
    name = "proxy variables"
    proxies = urllib.request.getproxies()
    caught = [host for host in ("127.0.0.1", "localhost") if not urllib.request.proxy_bypass(host)]
    if not proxies.keys() & {"http", "https", "all"} or not caught:
        return Check(name, "ok", "none stands before this machine's own servers")
    found = f"HTTP_PROXY and the like are set, and NO_PROXY lacks {', '.join(caught)}"
    local = [url for url in _model_servers(settings) if urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")]
    if local:
        found = f"{found}: model requests to {local[0]} go to the proxy"
    remedy = "NO_PROXY=localhost,127.0.0.1,::1, for the server and for every client of it"
    return Check(name, "problem" if local else "note", found, remedy)


def _model_servers(settings: Settings) -> Iterator[str]:
    yield from (each.definition.base_url for each in registry_of(settings).brains if each.definition.base_url)
    if settings.brain.base_url:
        yield settings.brain.base_url


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _kind_of(place: Path) -> str:
    """Return the kind of the file system that *place* is on; empty when nothing says so."""
    try:
        lines = (_PROC / "self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    here, best, kind = place.resolve(), 0, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        mount = left.split()[4].replace("\\040", " ")
        # The last one of a place lies on top of those before.
        if here.is_relative_to(mount) and len(mount) >= best:
            best, kind = len(mount), right.split()[0]
    return kind


def _rooms() -> Iterator[int]:
    """Yield the bytes that are left below each memory limit of this process's control groups, version 1 and 2."""
    try:
        lines = (_PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names, base = ("memory.max", "memory.current"), _CGROUPS
        elif "memory" in controllers.split(","):
            names, base = ("memory.limit_in_bytes", "memory.usage_in_bytes"), _CGROUPS / "memory"
        else:
            continue
        group = base / path.lstrip("/")
        while group.is_relative_to(base):
            yield from _room(group, *names)
            group = group.parent


def _room(group: Path, limit_file: str, used_file: str) -> Iterator[int]:
    try:
        limit = int((group / limit_file).read_text())
        used = int((group / used_file).read_text())
        cached = next(
            (int(row.split()[1]) for row in (group / "memory.stat").read_text().splitlines() if "inactive_file" in row),
            0,
        )
    except (OSError, ValueError):
        return  # "max", or a file that this group does not have
    if limit < _UNLIMITED:
        # What was only read from files is given back when memory is short.
        yield limit - used + cached
