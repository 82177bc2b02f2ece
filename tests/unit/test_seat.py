"""A seat belongs to one living process, and to the next one after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agents.seat import Seat, seat_name

_HOLD = """
import sys; from pathlib import Path; from agents.seat import Seat
print(Seat(Path(sys.argv[1]), "monolith").name, flush=True)
sys.stdin.read()
"""


def test_two_that_live_have_different_seats_and_the_lowest_free_one_is_taken(tmp_path: Path) -> None:
    seats = [Seat(tmp_path, "monolith") for _ in range(3)]
    assert [seat.name for seat in seats] == [seat_name("monolith", number) for number in range(3)]
    seats[1].release()
    seats[1].release()
    assert Seat(tmp_path, "monolith").name == seats[1].name


def test_the_seat_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        held = holder.stdout.readline().strip()
        assert Seat(tmp_path, "monolith").name != held
        holder.kill()
        holder.wait()
    assert Seat(tmp_path, "monolith").name == held
