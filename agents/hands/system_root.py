"""The read-only system that all sandboxes of a host see as ``/``, made once instead of mount by mount.

Every mount of its own costs a sandbox's start a quarter of a millisecond, so the directories, links and files
that are the same for all lie ready in one tree: mount points, ``/bin`` and its like as links into ``/usr``, and
of ``/etc`` what programs need. Invariant: nothing in it names the host's users, keys or machine. It is a copy of
the moment when the host started; ``/usr`` itself is not in it but mounted.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

log = logging.getLogger(__name__)

SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_MOUNT_POINTS = (
    "usr",
    "proc",
    "dev",
    "tmp",
    "workspace",
    "home/agent",
    "mnt/session/outputs",
    "mnt/session/uploads",
    "mnt/memory",
    "run/calls",
    "opt/packages",
)
_OWN = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nagent:x:1000:1000:agent:/home/agent:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    # Names are looked up by the proxy.
    "resolv.conf": "",
}
_COPIED = (
    "ld.so.cache", "alternatives", "localtime", "ssl/certs", "ca-certificates", "fonts", "mime.types", "services",
    "protocols",
)  # fmt: skip
_MANUAL_PAGES = shutil.ignore_patterns("*.gz")  # most of ``alternatives``, and nobody reads them here


def make_system_root(target: Path) -> None:
    """Make the tree at *target*, which must not exist; raises OSError."""
    _folder(target)
    for name in (*_MOUNT_POINTS, "etc", "var"):
        _folder(target / name)
    (target / "var" / "tmp").symlink_to("/tmp")  # noqa: S108
    for name in SYSTEM_LINKS:
        system = Path("/") / name
        if system.is_symlink():
            (target / name).symlink_to(os.readlink(system))
        elif system.is_dir():
            _folder(target / name)
    for name, text in _OWN.items():
        file = target / "etc" / name
        file.write_text(text)
        file.chmod(0o644)
    for name in _COPIED:
        _copy(Path("/etc") / name, target / "etc" / name)


def _folder(path: Path) -> None:
    """Make a directory that every user may read, whatever the server's umask is."""
    for missing in (*(parent for parent in reversed(path.parents) if not parent.exists()), path):
        missing.mkdir(exist_ok=True)
        missing.chmod(0o755)


def _copy(source: Path, target: Path) -> None:
    """Copy what is there to be copied; links inside a directory stay links."""
    if not source.exists():
        return
    _folder(target.parent)
    try:
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=_MANUAL_PAGES)
        elif source.is_symlink() and source.resolve().is_relative_to("/usr"):
            target.symlink_to(source.resolve())
        else:
            shutil.copy2(source, target)
    except (shutil.Error, OSError) as error:  # a file that the server may not read is not the sandboxes' either
        log.warning("sandboxes have only a part of %s: %s", source, error)
