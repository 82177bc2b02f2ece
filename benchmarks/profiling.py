"""py-spy beside a load: one recording per part of the platform, and its heaviest functions as text."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import TICKS, snapshot

FOLDER = Path("/tmp/hecaton-profile")
_PARTS = ("gateway", "harness", "brain", "sandbox host", "haproxy manager", "serve proxy", "serve controller")
_RATE = 200
_SHOWN = 45


@contextlib.contextmanager
def profiled(root: int, seconds: float) -> Iterator[None]:
    """Record every Python part of the platform for as long as the block runs, *seconds* at most."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    recordings: dict[str, subprocess.Popen[bytes]] = {}
    for process in snapshot(root).values():
        if process.part in _PARTS:
            name = process.part.replace(" ", "-")
            command = [
                str(Path(sys.executable).parent / "py-spy"),
                "record",
                "--pid",
                str(process.pid),
                "--gil",
                "--function",
            ]
            command += ["--rate", str(_RATE), "--duration", str(int(seconds)), "--format", "raw", "--nonblocking"]
            command += ["--output", str(FOLDER / f"{name}.raw")]
            recordings[name] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        for name, recording in recordings.items():
            # py-spy writes its file when it is interrupted.
            if recording.poll() is None:
                recording.send_signal(2)
            recording.wait(60)
            summarise(FOLDER / f"{name}.raw")


def summarise(raw: Path) -> None:
    """Write the heaviest functions of a recording beside it, by own and by inclusive samples."""
    if not raw.exists():
        return
    own: Counter[str] = Counter()
    packages: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    total = 0
    for line in raw.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        total += int(count)
        own[frames[-1]] += int(count)
        packages[_package(frames[-1])] += int(count)
        for frame in set(frames):
            inclusive[frame] += int(count)
    lines = [f"{raw.stem}: {total} samples holding the interpreter lock at {_RATE}/s", "", "own, by package"]
    lines += [f"{100 * count / max(1, total):6.1f} %  {name}" for name, count in packages.most_common(20)]
    lines += ["", "inclusive"]
    lines += [f"{100 * count / max(1, total):6.1f} %  {frame}" for frame, count in inclusive.most_common(2 * _SHOWN)]
    lines += ["", "own"]
    lines += [f"{100 * count / max(1, total):6.1f} %  {frame}" for frame, count in own.most_common(_SHOWN)]
    raw.with_suffix(".txt").write_text("\n".join(lines) + "\n")


def _package(frame: str) -> str:
    """``run (sqlalchemy/engine/base.py)`` -> ``sqlalchemy/engine``; files of the standard library stand alone."""
    path = frame.rpartition("(")[2].partition(":")[0].rstrip(")")
    parts = path.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else path


def thread_cpu(root: int) -> dict[str, Counter[str]]:
    """CPU microseconds so far by part and thread name: the interpreter's threads beside Ray's native ones."""
    found: dict[str, Counter[str]] = {}
    for process in snapshot(root).values():
        if process.part not in _PARTS:
            continue
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                head, _, tail = (task / "stat").read_text().rpartition(")")
                fields = tail.split()
                name = head.partition("(")[2].rstrip("0123456789")
                seconds = (int(fields[11]) + int(fields[12])) / TICKS
                found.setdefault(process.part, Counter())[name] += int(1e6 * seconds)
    return found
