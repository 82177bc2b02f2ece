"""Where sandboxes live when their users could not reach the directory that was asked for.

A sandbox's user must pass through every directory above its files; below a closed one (a home, say) the files
go to a place in /var/tmp instead, found again by the path that was asked for. Invariant: such a place is
removed only when it is empty, or when the directory that it stands in for was deleted: gone, while the file
system that it lay on is there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
from pathlib import Path

import orjson

from agents.hands.host_lock import living_hosts

log = logging.getLogger(__name__)

_PLACE = Path("/var/tmp")  # noqa: S108
_PREFIX = "hecaton-"
_NOTE = ".stands-in-for"


def traversable_root(wanted: Path) -> Path:
    """Return *wanted*, or a place in /var/tmp when sandbox users could not reach it; raises OSError."""
    wanted.mkdir(parents=True, exist_ok=True)
    wanted.chmod(0o711)
    closed = next((p for p in wanted.parents if not stat.S_IMODE(p.stat().st_mode) & 0o001), None)
    if closed is None or os.geteuid() != 0:
        return wanted
    place = fallback_root(wanted)
    place.mkdir(mode=0o711, exist_ok=True)
    if place.is_symlink() or place.stat().st_uid != os.geteuid():
        raise PermissionError(f"{place} belongs to somebody else")
    place.chmod(0o711)
    (place / _NOTE).write_bytes(orjson.dumps([str(wanted), wanted.stat().st_dev]))
    log.warning("sandboxes live in %s: their users cannot pass through %s (mode 0700)", place, closed)
    return place


def fallback_root(wanted: Path) -> Path:
    """Return the place in /var/tmp that stands in for *wanted*."""
    return _PLACE / f"{_PREFIX}{hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]}"


def remove_empty(place: Path, own: frozenset[str]) -> None:
    """Remove a place that holds nothing but the *own* directories of hosts, all of them empty."""
    if {entry.name for entry in place.iterdir()} - own - {_NOTE}:
        return
    try:
        for name in own:
            (place / name).rmdir()
    except OSError:  # another host is about to use it
        return
    (place / _NOTE).unlink(missing_ok=True)
    place.rmdir()


def remove_abandoned() -> list[Path]:
    """Remove the places whose directory was deleted and that no host uses; returns them. Raises OSError."""
    abandoned = [place for place in sorted(_PLACE.glob(f"{_PREFIX}*")) if _is_abandoned(place)]
    for place in abandoned:
        shutil.rmtree(place)
    return abandoned


def _is_abandoned(place: Path) -> bool:
    if place.is_symlink() or not place.is_dir() or place.stat().st_uid != os.geteuid():
        return False
    try:
        wanted, device = orjson.loads((place / _NOTE).read_bytes())
    except (OSError, ValueError):
        return False
    path = Path(wanted)
    if path.exists() or living_hosts(place):
        return False
    there = next(parent for parent in path.parents if parent.exists())
    return there.stat().st_dev == device
