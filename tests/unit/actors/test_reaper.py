"""No process of a platform outlives it (bug class: leaked daemons after a crash)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_PARENT = """
import subprocess, sys
from actors.reaper import adopt_orphans, start_reaper
adopt_orphans()
reaper = start_reaper()
# A child that daemonises: its own session, its parent gone at once, its environment wiped.
script = "setsid env -i sleep 300 >/dev/null 2>&1 & echo $!"
orphan = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, text=True).stdout.strip()
print(orphan, reaper.pid, flush=True)
{end}
"""


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not _alive(pid)


def _start(end: str) -> tuple[subprocess.Popen[str], int, int]:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT.format(end=end)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    orphan, reaper = map(int, parent.stdout.readline().split())
    return parent, orphan, reaper


def test_orphans_stay_descendants() -> None:
    parent, orphan, _ = _start("import time; time.sleep(60)")
    fields = Path(f"/proc/{orphan}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[1]) == parent.pid
    os.kill(orphan, signal.SIGKILL)
    parent.kill()
    parent.wait(10)


def test_after_sigkill_the_reaper_ends_what_is_left_and_then_itself() -> None:
    parent, orphan, reaper = _start("import time; time.sleep(1.5); print('looked', flush=True); time.sleep(60)")
    assert parent.stdout is not None and parent.stdout.readline() == "looked\n"
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(10)
    assert _gone(orphan) and _gone(reaper)


def test_adopted_processes_that_have_ended_are_collected_and_own_children_are_left_to_who_started_them() -> None:
    end = """
import os, time
from actors.reaper import children, collect_adopted
mine = subprocess.Popen(["true"])
own = children()
os.kill(int(orphan), 9)
while children() != own:
    collect_adopted(own)
while open(f"/proc/{mine.pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
    pass
collect_adopted(own)
print(mine.pid in children(), mine.wait(), flush=True)
"""
    parent, _, _ = _start(end)
    assert parent.stdout is not None and parent.stdout.readline() == "True 0\n"
    assert parent.wait(20) == 0


def test_at_a_clean_end_the_process_ends_them_itself() -> None:
    parent, orphan, reaper = _start("from actors.reaper import end_descendants; end_descendants(spare={reaper.pid})")
    assert parent.wait(20) == 0
    assert _gone(orphan) and _gone(reaper)
