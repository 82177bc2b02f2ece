"""Prints the part of requirements.lock that the platform needs to run, hashes included: no test or lint tools.

The lock names who wanted each package (``# via``), so what the run-time dependencies of pyproject.toml need, and what
those need, can be followed without asking an index. Used by the Dockerfile; standard library only.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def normalised(name: str) -> str:
    """Return a package's name as the lock spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(pyproject: str, extras: Iterable[str]) -> set[str]:
    """Name the packages that *pyproject* depends on, with *extras*. Raises KeyError for an extra that is not there."""
    project = tomllib.loads(pyproject)["project"]
    lines = [*project["dependencies"]]
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return {normalised(match[0]) for line in lines if (match := _NAME.match(line))}


def entries(lock: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yield name, lines (without remarks) and askers of each package in *lock*."""
    for block in re.split(r"\n(?=[A-Za-z0-9])", lock):
        if not (match := _NAME.match(block)):
            continue
        remarks = [
            line.strip().removeprefix("#").strip() for line in block.splitlines() if line.strip().startswith("#")
        ]
        askers = {normalised(remark.removeprefix("via").strip()) for remark in remarks if remark not in ("", "via")}
        lines = "\n".join(line for line in block.splitlines() if line.strip() and not line.strip().startswith("#"))
        yield normalised(match[0]), lines, askers


def runtime_lock(pyproject: str, lock: str, extras: Iterable[str] = ()) -> str:
    """Return the entries of *lock* that are needed to run. Raises ValueError when one that is wanted is not locked."""
    found = {name: (lines, askers) for name, lines, askers in entries(lock)}
    needed = wanted(pyproject, extras)
    if missing := sorted(needed - found.keys()):
        raise ValueError(f"requirements.lock lacks {', '.join(missing)}: make lock")
    while more := {name for name, (_, askers) in found.items() if name not in needed and askers & needed}:
        needed |= more
    return "\n".join(found[name][0] for name in sorted(needed)) + "\n"


if __name__ == "__main__":
    pyproject_file, lock_file, *chosen = sys.argv[1:]
    sys.stdout.write(runtime_lock(Path(pyproject_file).read_text(), Path(lock_file).read_text(), chosen))
