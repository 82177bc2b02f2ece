"""Claim: a checkpoint after a call costs well under a millisecond of CPU where little changed in a small workspace,
and a whole one or a restore no more than a few times what ``cp -a`` of the same tree costs in the same run.

Falsified when an unchanged or barely changed workspace of 10 files costs 1 ms of processor time or more, when an
unchanged one costs more than 5 microseconds per file, or when a first checkpoint or a restore of 50 000 files
takes more than three times as long as ``cp -a``. The floor is ``cp -a`` and ``tar`` of the same tree; "bare fsync"
is what durability costs on this disk: one file of 2 KB, written, renamed, synced with its directory.

Run: ``python -m benchmarks.bench_checkpoint [--files N ...] [--rounds N] [--json FILE]``; it needs root for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agents.config import CheckpointSettings
from agents.experiments.running.machine import machine_description
from agents.hands.checkpoint_history import load_version, stored_names
from agents.hands.checkpoint_manifest import COVERED
from agents.hands.checkpoint_restore import restore
from agents.hands.checkpoint_store import LocalStore
from agents.hands.checkpoint_work import Checkpoints, CheckpointWork
from agents.hands.deadline import Deadline

_SESSION = "sesn_bench"
_FOLDER = 20
"""Files per directory."""


class Sample:
    """Milliseconds of wall and processor time of one kind of work."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def measure(self, work: Callable[[], object]) -> None:
        """Run *work* once; its processor time is this thread's and that of the programs it waited for."""
        children, wall, cpu = _children(), time.perf_counter(), time.thread_time()
        work()
        self.wall.append((time.perf_counter() - wall) * 1000)
        self.cpu.append((time.thread_time() - cpu + _children() - children) * 1000)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Workspace:
    """A tree of so many small files, and its checkpoints."""

    def __init__(self, place: Path, files: int) -> None:
        self.place = place
        self.base = place / "session"
        self.files = files
        for name in COVERED:
            (self.base / name).mkdir(parents=True)
        dice = random.Random(1)
        for number in range(files):
            folder = self.base / "workspace" / f"d{number // _FOLDER}"
            folder.mkdir(exist_ok=True)
            (folder / f"f{number}.py").write_bytes(dice.randbytes(dice.randrange(200, 6000)))
        settings = CheckpointSettings(max_bytes=2**40)
        self._shared = Checkpoints(settings, LocalStore(place / "store"), "bench/1", ThreadPoolExecutor(1))
        self.forget()
        time.sleep(0.1)  # a file that has just been written is looked at twice

    def forget(self) -> None:
        """Begin anew, with nothing in the store."""
        shutil.rmtree(self.place / "store", ignore_errors=True)
        self.work = CheckpointWork(_SESSION, str(self.base), self._shared)

    def checkpoint(self) -> int:
        return self.work.checkpoint(Deadline(600), lambda: None)

    def change(self, number: int) -> None:
        path = self.base / "workspace" / "d0" / f"f{number % min(_FOLDER, self.files)}.py"
        path.write_bytes(os.urandom(2000))
        time.sleep(0.03)

    def restore(self, target: Path) -> None:
        for name in COVERED:
            (target / name).mkdir(parents=True)
        store = LocalStore(self.place / "store")
        names = stored_names(store, _SESSION)
        stored = load_version(store, _SESSION, names, max(names))
        fd = os.open(target, os.O_RDONLY)
        report = restore(store, _SESSION, stored, fd, None, Deadline(600))
        os.close(fd)
        assert report.files == self.files, "everything came back"


def measure(place: Path, files: int, rounds: int) -> dict[str, Sample]:
    """Measure everything for one size of workspace."""
    workspace = Workspace(place, files)
    found: dict[str, Sample] = {}

    def take(what: str, work: Callable[[], object], prepare: Callable[[int], object] = lambda _: None) -> None:
        sample = found.setdefault(what, Sample())
        for number in range(rounds):
            prepare(number)
            sample.measure(work)

    target = place / "copy"
    few = min(rounds, 3) if files > 10_000 else rounds

    def remove(_: int) -> None:
        shutil.rmtree(target, ignore_errors=True)

    rounds, all_rounds = few, rounds
    copy = ["cp", "-a", str(workspace.base), str(target)]
    take("cp -a", lambda: subprocess.run(copy, check=True), remove)
    pack = ["tar", "-C", str(workspace.base), "-cf", str(place / "tree.tar"), "."]
    take("tar", lambda: subprocess.run(pack, check=True))
    take("first checkpoint", workspace.checkpoint, lambda _: workspace.forget())
    take("restore", lambda: workspace.restore(target), remove)
    rounds = all_rounds
    workspace.checkpoint()
    take("nothing changed", workspace.checkpoint)
    take("one file changed", workspace.checkpoint, workspace.change)
    take("bare fsync", lambda: _durable(place))
    return found


def _durable(place: Path) -> None:
    fd = os.open(place / "new", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(fd, bytes(2000))
    os.fsync(fd)
    os.close(fd)
    os.rename(place / "new", place / "durable")
    fd = os.open(place, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def broken_claims(files: int, found: dict[str, Sample]) -> list[str]:
    """Name the parts of the claim that these figures falsify."""

    def of(what: str, kind: str) -> float:
        return statistics.median(getattr(found[what], kind))

    broken: list[str] = []
    if files <= 10:
        broken += [name for name in ("nothing changed", "one file changed") if of(name, "cpu") >= 1.0]
    if of("nothing changed", "cpu") * 1000 > 5 * max(files, 200):
        broken.append("nothing changed: more than 5 microseconds per file")
    if files >= 50_000:
        slow = ("first checkpoint", "restore")
        broken += [f"{name}: over 3 x cp -a" for name in slow if of(name, "wall") > 3 * of("cp -a", "wall")]
    return [f"{files} files: {what}" for what in broken]


def show(found: dict[int, dict[str, Sample]]) -> None:
    """Print the table."""
    table = Table(title="Checkpoints in a local directory (milliseconds, medians)")
    for column in ("files", "what", "rounds", "wall", "processor"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for files, samples in found.items():
        for what, sample in samples.items():
            wall, cpu = statistics.median(sample.wall), statistics.median(sample.cpu)
            table.add_row(f"{files}", what, f"{len(sample.wall)}", f"{wall:.2f}", f"{cpu:.2f}")
        table.add_section()
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, nargs="+", default=[10, 1000, 50_000])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the raw samples and machine facts here")
    arguments = parser.parse_args()
    found: dict[int, dict[str, Sample]] = {}
    for files in arguments.files:
        place = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="bench-checkpoint-"))
        try:
            found[files] = measure(place, files, arguments.rounds)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    show(found)
    if arguments.json:
        raw = {files: {what: vars(sample) for what, sample in of.items()} for files, of in found.items()}
        arguments.json.write_text(json.dumps({"machine": machine_description(sys.argv), "milliseconds": raw}))
    broken = [claim for files, samples in found.items() for claim in broken_claims(files, samples)]
    for claim in broken:
        Console().print(f"MISSED {claim}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
