"""An id decides who takes the session: it is drawn for the side that is meant."""

from __future__ import annotations

import pytest

from agents.sessions.partition import partition_of
from agents.sessions.sides import territory
from agents.standby.session_ids import SessionIds


def test_without_a_standby_any_id_will_do() -> None:
    session_id, partition, side = SessionIds(64).new()
    assert partition == partition_of(session_id, 64) and side is None


@pytest.mark.parametrize("partitions", [2, 7, 64, 4096])
@pytest.mark.parametrize(("share", "side"), [(1.0, "monolith"), (0.0, "decoupled")])
def test_an_id_is_in_a_partition_of_the_side_that_is_meant(partitions: int, share: float, side: str) -> None:
    ids = SessionIds(partitions, lambda: share)
    for _ in range(20):
        session_id, partition, taken = ids.new()
        assert partition == partition_of(session_id, partitions)
        assert taken == side and partition in territory(side, partitions)  # type: ignore[arg-type]


def test_a_share_is_dealt_out_by_chance() -> None:
    chances = iter([0.0, 0.79, 0.8, 0.99])
    ids = SessionIds(64, lambda: 0.8, chance=lambda: next(chances))
    assert [ids.new()[2] for _ in range(4)] == ["monolith", "monolith", "decoupled", "decoupled"]
