"""How each manager installs packages below ``/opt/packages``, as no user in particular and without changing the system.

What comes with a manager's own rules stays so: the names and versions are in its notation (spec A.2). Packages of apt
are unpacked, not configured: their scripts would change the system, which every sandbox has in common.
"""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from agents.hands.layer import PACKAGES
from agents.hands.packages.settings import Manager

MANAGERS: tuple[Manager, ...] = ("apt", "cargo", "gem", "go", "npm", "pip")
"""In the order in which they install."""
APT_FILES = "/workspace/apt"
"""Where the build finds the system's sources of packages, their keys, and the list of what is installed."""
_PROGRAMS: dict[Manager, str] = {
    "apt": "apt-get",
    "cargo": "cargo",
    "gem": "gem",
    "go": "go",
    "npm": "npm",
    "pip": "pip3",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """One manager's part of a build."""

    manager: Manager
    program: str
    script: str


def recipe(manager: Manager, packages: Sequence[str], index: str | None) -> Recipe:
    """Return how *manager* installs *packages*, from *index* when it is given."""
    names = " ".join(map(shlex.quote, packages))
    place = f"{PACKAGES}/{manager}"
    match manager:
        case "apt":
            script = _apt(names, place, index)
        case "cargo":
            source = f" --index {shlex.quote(index)}" if index else ""
            script = f"export CARGO_HOME=/tmp/cargo\ncargo install --root {place}{source} -- {names}"
        case "gem":
            source = f" --clear-sources --source {shlex.quote(index)}" if index else ""
            script = f"gem install --no-document --install-dir {place} --bindir {place}/bin{source} -- {names}"
        case "go":
            # A private index is not in the public checksum database.
            source = f"export GOPROXY={shlex.quote(index)} GOSUMDB=off\n" if index else ""
            script = f"export GOPATH=/tmp/go GOBIN={place}/bin GOFLAGS=-modcacherw\n{source}" + "\n".join(
                f"go install {shlex.quote(name if '@' in name else f'{name}@latest')}" for name in packages
            )
        case "npm":
            source = f" --registry {shlex.quote(index)}" if index else ""
            options = "--global --no-audit --no-fund --no-update-notifier"
            script = f"npm install {options} --prefix {place}{source} -- {names}"
        case "pip":
            script = _pip(names, place, index)
    return Recipe(manager, _PROGRAMS[manager], script)


def _pip(names: str, place: str, index: str | None) -> str:
    options = "--no-input --disable-pip-version-check --no-cache-dir --no-warn-script-location"
    if index is not None:
        parts = urlsplit(index)
        options += f" --index-url {shlex.quote(index)}"
        if parts.scheme == "http" and parts.hostname:
            options += f" --trusted-host {shlex.quote(parts.hostname)}"
    return f"pip3 install {options} --target {place} -- {names}"


def _apt(names: str, place: str, index: str | None) -> str:
    own = f"-o Dir::Etc={APT_FILES}/etc -o Dir::State={APT_FILES}/state -o Dir::State::status={APT_FILES}/status"
    options = f"{own} -o Dir::Cache={APT_FILES}/cache -o Dir::Log={APT_FILES} -o Debug::NoLocking=true"
    lists = f"{APT_FILES}/etc/sources.list"
    source = f"rm -rf {lists}.d\nprintf '%s\\n' {shlex.quote(index)} > {lists}" if index else ":"
    return (
        f"mkdir -p {APT_FILES}/{{etc,state/lists/partial,cache/archives/partial}} {place}\n"
        f"{source}\n"
        f"apt-get -q {options} update\n"
        f"apt-get -qy {options} --no-install-recommends --download-only install -- {names}\n"
        f'for package in {APT_FILES}/cache/archives/*.deb; do dpkg-deb -x "$package" {place}; done'
    )


def variables(packages: Mapping[str, Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """Return the variables by which programs find what was installed; ``PATH`` is to be put before the system's."""
    found: dict[str, str] = {}
    path: list[str] = []
    for manager in MANAGERS:
        if not packages.get(manager):
            continue
        place = f"{PACKAGES}/{manager}"
        match manager:
            case "apt":
                path += [f"{place}/{name}" for name in ("usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")]
                triplet = f"{platform.machine()}-linux-gnu"
                libraries = [f"{place}/{name}" for name in (f"usr/lib/{triplet}", "usr/lib", f"lib/{triplet}", "lib")]
                found["LD_LIBRARY_PATH"] = ":".join(libraries)
            case "gem":
                found["GEM_PATH"] = place
            case "npm":
                found["NODE_PATH"] = f"{place}/lib/node_modules"
            case "pip":
                found["PYTHONPATH"] = place
            case "cargo" | "go":
                pass
        path += [] if manager == "apt" else [f"{place}/bin"]
    return (("PATH", ":".join(path)), *found.items())
