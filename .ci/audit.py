"""Hold the locked packages against known vulnerabilities (OSV), with what is known of each exception.

Exit status 0: nothing is known, or whoever knows could not be asked in time (said in one line); 1: a vulnerability
that no exception names, or one whose exception is over; 2: the lock or the list of exceptions cannot be read.
A complete answer is kept, and stands in for one that cannot be had while the lock is the same, for a week.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SECONDS = 45.0
"""For what may wait for the network."""
LOCAL_SECONDS = 10.0
KEPT_SECONDS = 7 * 24 * 3600.0


class Unusable(Exception):
    """The lock or the list of exceptions cannot be used."""


@dataclass(frozen=True)
class Finding:
    """One vulnerability of one locked package; ``names`` are its id and aliases (PYSEC, CVE, GHSA)."""

    package: str
    version: str
    names: frozenset[str]
    fixed_in: tuple[str, ...]

    def line(self) -> str:
        fixes = ", ".join(self.fixed_in) or "no version yet"
        return f"{self.package} {self.version}: {', '.join(sorted(self.names))}; fixed in {fixes}"


@dataclass(frozen=True)
class Exemption:
    """A vulnerability that is lived with until a day, for a reason."""

    name: str
    reason: str
    until: date


def exemptions_of(path: Path) -> list[Exemption]:
    """Read the list. Raises Unusable."""
    try:
        rows: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or []
        made = [Exemption(row["id"], row["reason"].strip(), row["expires"]) for row in rows]
    except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise Unusable(f"{path}: {error!r}; every entry has id, reason and expires") from error
    for each in made:
        if not each.reason or not isinstance(each.until, date):
            raise Unusable(f"{path}: {each.name} needs a reason and a day (2026-12-31) on which it expires")
    return made


def findings_of(report: Any) -> list[Finding]:
    """Read pip-audit's report."""
    return [
        Finding(
            package["name"],
            package["version"],
            frozenset({found["id"], *found.get("aliases", ())}),
            tuple(found.get("fix_versions", ())),
        )
        for package in report["dependencies"]
        for found in package.get("vulns", ())
    ]


def run(command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def ask(program: str, lock: Path, seconds: float, more: Sequence[str]) -> Any | None:
    """Return pip-audit's report; None when whoever knows did not answer in time. Raises Unusable."""
    command = [program, "-r", str(lock), "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    asking = ["-s", "osv", "-f", "json", "--desc", "off", "--aliases", "on", "--timeout", "10", *more]
    try:
        return json.loads(run([*command, *asking], seconds).stdout)
    except subprocess.TimeoutExpired:
        return None
    except ValueError:
        # It ends in the same way for a lock that it cannot read, which it also finds out without the network.
        try:
            dry = run([*command, "--dry-run"], LOCAL_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        if dry.returncode != 0:
            raise Unusable(f"{lock}: {dry.stderr.strip()[-2000:]}") from None
        return None


class Kept:
    """The last complete report, for one lock."""

    def __init__(self, folder: Path, lock: Path) -> None:
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
        self._file = folder / f"audit-{digest[:16]}.json"

    def report(self) -> Any | None:
        try:
            if time.time() - self._file.stat().st_mtime > KEPT_SECONDS:
                return None
            return json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def keep(self, report: Any) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(report), encoding="utf-8")


def judge(found: Sequence[Finding], exempt: Sequence[Exemption], today: date) -> tuple[list[str], list[str]]:
    """Return why the audit fails, and what else is worth a line."""
    faults: list[str] = []
    notes: list[str] = []
    for finding in found:
        mine = next((each for each in exempt if each.name in finding.names), None)
        if mine is None:
            faults.append(finding.line())
        elif today > mine.until:
            faults.append(f"{finding.line()}; its exception expired on {mine.until}")
        else:
            notes.append(f"{finding.line()}; lived with until {mine.until}: {mine.reason}")
    known = {name for finding in found for name in finding.names}
    notes += [
        f"the exception for {each.name} is for nothing that is found" for each in exempt if each.name not in known
    ]
    return faults, notes


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", type=Path, default=HERE.parent / "requirements.lock")
    parser.add_argument("--exceptions", type=Path, default=HERE / "audit-exceptions.yaml")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hecaton"
    parser.add_argument("--cache", type=Path, default=cache)
    parser.add_argument("--program", default=str(Path(sys.executable).with_name("pip-audit")))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for what may wait for the network")
    given, more = parser.parse_known_args(arguments)
    say = sys.stdout.write
    try:
        exempt = exemptions_of(given.exceptions)
        kept, report = Kept(given.cache, given.lock), ask(given.program, given.lock, given.seconds, more)
    except (Unusable, OSError) as error:
        say(f"audit: {error}\n")
        return 2
    if report is not None:
        # Where nothing can be written, the next run only has nothing to stand in for an answer.
        with contextlib.suppress(OSError):
            kept.keep(report)
    elif (report := kept.report()) is not None:
        say("audit: the source of advisories did not answer; this is what it said of the same lock within a week\n")
    else:
        say("audit: NOT DONE: the source of advisories did not answer, and no answer about this lock is kept\n")
        return 0
    faults, notes = judge(findings_of(report), exempt, date.today())
    for line in notes:
        say(f"audit: note: {line}\n")
    for line in faults:
        say(f"audit: VULNERABLE: {line}\n")
    say(f"audit: {len(report['dependencies'])} packages, {len(faults)} vulnerabilities without an exception\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
