"""What apt needs to know of this machine, copied for a build: sources, keys, what is installed; never passwords."""

from __future__ import annotations

import shutil
from pathlib import Path

from agents.settings_base import PASSWORD_IN_URL

_ETC = Path("/etc/apt")
_STATUS = Path("/var/lib/dpkg/status")
_KEYS = ("trusted.gpg", "trusted.gpg.d", "keyrings")


def copy_apt_files(target: Path) -> None:
    """Make *target*, in which sources that have a password are left out; raises OSError."""
    etc = target / "etc"
    (etc / "sources.list.d").mkdir(parents=True)
    sources = [_ETC / "sources.list", *sorted((_ETC / "sources.list.d").glob("*"))]
    for source in sources:
        if source.suffix in (".list", ".sources") and source.is_file():
            text = source.read_text(errors="replace")
            if not PASSWORD_IN_URL.search(text):
                (etc / source.relative_to(_ETC)).write_text(text)
    for name in _KEYS:
        key = _ETC / name
        if key.is_dir():
            shutil.copytree(key, etc / name, ignore_dangling_symlinks=True)
        elif key.is_file():
            shutil.copyfile(key, etc / name)
    if _STATUS.is_file():
        shutil.copyfile(_STATUS, target / "status")
