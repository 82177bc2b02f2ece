"""How sessions are dealt out among versions.

Bug class this catches: a change of weights that moves sessions, or leaves no version current.
"""

from __future__ import annotations

from typing import Any

import pytest

from agents.brain_settings import BrainDefinition
from agents.brains.releases import declared_split
from agents.errors import InvalidRequest
from agents.governance.split import (
    Split,
    fitted,
    judged,
    on_trial,
    promoted,
    released,
    rolled_back,
    version_for,
)

SESSIONS = [f"sesn_{number}" for number in range(1000)]


def dealt(split: Split) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for session in SESSIONS:
        found.setdefault(version_for("qwen", split, session), set()).add(session)
    return found


def test_the_weights_are_percent_of_the_sessions() -> None:
    found = dealt(Split("1", {"2": 10, "3": 30}))
    assert 60 <= len(found["2"]) <= 140
    assert 240 <= len(found["3"]) <= 360
    assert dealt(Split("1")) == {"1": set(SESSIONS)}
    assert dealt(Split("1", {"2": 100})) == {"2": set(SESSIONS)}


def test_a_weight_that_grows_takes_no_session_away_from_its_version() -> None:
    before, after = dealt(Split("1", {"2": 10})), dealt(Split("1", {"2": 40}))
    assert before["2"] < after["2"]
    assert after["1"] < before["1"]


def test_brains_deal_out_the_same_sessions_differently() -> None:
    split = Split("1", {"2": 50})
    assert {session for session in SESSIONS if version_for("other", split, session) == "2"} != dealt(split)["2"]


def test_a_release_becomes_the_current_version() -> None:
    split = released(Split("1"), "2", 10)
    assert split == Split("1", {"2": 10})
    assert released(split, "2", 25) == Split("1", {"2": 25})
    assert released(split, "2", 0) == Split("1")
    assert promoted(split, "2") == Split("2", {}, previous="1")
    assert promoted(promoted(split, "2"), "2") == promoted(split, "2")
    assert promoted(Split("1", {"2": 10, "3": 20}), "3") == Split("3", {"2": 10}, previous="1")


def test_a_version_that_is_rolled_back_gets_nothing_until_it_is_released_again() -> None:
    split = rolled_back(Split("1", {"2": 10, "3": 5}), "2", "too slow")
    assert split == Split("1", {"3": 5}, withdrawn={"2": "too slow"})
    assert released(split, "2", 0) == split
    assert released(split, "2", 1) == Split("1", {"3": 5, "2": 1})
    assert promoted(split, "2") == Split("2", {"3": 5}, previous="1")


def test_the_current_version_goes_back_to_the_one_before_it_and_not_further() -> None:
    split = rolled_back(promoted(Split("1"), "2"), "2", "by hand")
    assert split == Split("1", withdrawn={"2": "by hand"})
    with pytest.raises(InvalidRequest, match="none before it"):
        rolled_back(split, "1", "by hand")
    assert rolled_back(promoted(Split("1"), "2"), "1", "by hand").previous is None


@pytest.mark.parametrize(
    ("split", "version", "weight", "fault"),
    [(Split("1"), "1", 10, "'1' is the current one"), (Split("1", {"3": 95}), "2", 6, "would get 101 percent")],
)
def test_there_is_no_more_than_everything_to_give(split: Split, version: str, weight: int, fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        released(split, version, weight)


def test_a_promoted_version_is_judged_for_a_while_and_as_long_as_there_is_one_to_go_back_to() -> None:
    split = promoted(Split("1", {"2": 10, "3": 5}), "2", at=1000)
    assert [judged(split, 60, now) for now in (1000, 1059, 1060)] == [["3", "2"], ["3", "2"], ["3"]]
    assert judged(split, 0, 1000) == ["3"]
    assert promoted(split, "2", at=2000) == split
    assert judged(rolled_back(split, "2", "bad"), 60, 1000) == ["3"]
    assert judged(rolled_back(split, "1", "bad"), 60, 1000) == ["3"]
    assert judged(rolled_back(split, "3", "bad"), 60, 1000) == ["2"]
    assert fitted(split, "1", ["1", "2", "3"]) == split
    assert judged(fitted(split, "2", ["2", "3"]), 60, 1000) == ["3"]


def test_a_roll_back_means_the_version_on_trial() -> None:
    assert on_trial(Split("1", {"2": 10})) == "2"
    assert on_trial(Split("1")) == "1"
    with pytest.raises(InvalidRequest, match="name one of 2, 3"):
        on_trial(Split("1", {"2": 10, "3": 5}))


def test_versions_that_are_no_longer_declared_have_no_part() -> None:
    given: dict[str, Any] = {"engine": "replay", "versions": {"2": {"weight": 20}, "3": {}}}
    definition = BrainDefinition.model_validate(given)
    assert declared_split(definition) == Split("1", {"2": 20})
    gone = Split("4", {"1": 5, "2": 6, "5": 7}, previous="6", withdrawn={"5": "slow", "3": "wrong"})
    assert fitted(gone, "1", definition.names) == Split("1", {"2": 6}, withdrawn={"3": "wrong"})
    kept = Split("3", {"2": 5}, previous="1")
    assert fitted(kept, "1", definition.names) == kept
