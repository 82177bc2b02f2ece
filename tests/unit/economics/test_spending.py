"""What was spent in the last hour. Bug class this catches: an hour that is shorter than one, or counted twice."""

from __future__ import annotations

import pytest

from agents.economics.meter import Spending
from agents.economics.spending import SpendingWindow

NOW = 1_000_000


@pytest.fixture
def window() -> SpendingWindow:
    window = SpendingWindow()
    rows = [
        ("big@1", NOW - 61, 100),
        ("big@1", NOW - 60, 10),
        ("big@2", NOW - 60, 1),
        ("big@1", NOW, 5),
        ("x@1", NOW, 7),
    ]
    window.learn([Spending(*row) for row in rows], NOW - 61)
    return window


def test_an_hour_is_sixty_minutes_and_the_one_that_has_begun_of_all_versions_together(window: SpendingWindow) -> None:
    assert (window.total(["big"], NOW), window.total(["big"], NOW + 1), window.total(["nobody"], NOW)) == (16, 5, 0)
    assert window.totals(NOW) == {"big": 16, "x": 7}


def test_what_is_read_again_replaces_what_was_known_since_then(window: SpendingWindow) -> None:
    window.learn([Spending("big@1", NOW, 6), Spending("big@1", NOW + 1, 2)], NOW)
    assert (window.total(["big"], NOW + 1), window.total(["x"], NOW + 1)) == (8, 0)
    window.learn([], NOW + 1)
    assert window.total(["big"], NOW + 1) == 6


@pytest.mark.parametrize(("most", "minutes"), [(16, 0), (15, 1), (5, 1), (4, 61), (0, 61), (-1, 60)])
def test_it_tells_when_enough_of_it_is_an_hour_old(window: SpendingWindow, most: int, minutes: int) -> None:
    assert window.minutes_until(["big"], NOW, most) == minutes


def test_brains_together_have_one_sum_and_one_wait(window: SpendingWindow) -> None:
    both = ("big", "x", "nobody")
    assert (window.total(both, NOW), window.total(both, NOW + 1)) == (23, 12)
    assert [window.minutes_until(both, NOW, most) for most in (23, 12, 11)] == [0, 1, 61]
