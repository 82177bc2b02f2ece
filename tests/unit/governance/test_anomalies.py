"""The detectors on synthetic series: what is anomalous is found once, what is not is not, and memory is bounded."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from agents.governance.anomalies.anomaly import AnomalyKind, Finding
from agents.governance.anomalies.costs import SpendingRate, TurnCosts
from agents.governance.anomalies.histogram import Distribution, RollingDistribution
from agents.governance.anomalies.latency import LatencySpikes
from agents.governance.anomalies.loops import LoopWatch
from agents.governance.anomalies.ownership import StuckSessions, TakeoverStorms
from agents.governance.anomalies.settings import AnomalySettings

SETTINGS = AnomalySettings()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BRAIN = "brain b@1"


class Traffic:
    """A subject that is asked every few seconds and looked at every quarter of a minute."""

    def __init__(self, every: float = 2.0, *, seed: int = 1) -> None:
        self.spikes = LatencySpikes(SETTINGS)
        self.found: list[tuple[float, Finding]] = []
        self.at = 0.0
        self._every = every
        self._random = random.Random(seed)

    def goes_on(self, seconds: float, times: float = 1.0, *, shape: float = 0.5) -> list[Finding]:
        """Let it be asked for so long, *times* as slow as at first; returns what is found meanwhile."""
        before, looked = len(self.found), self.at
        end = self.at + seconds
        while self.at < end:
            self.spikes.observe(BRAIN, self._random.lognormvariate(0, shape) * times, self.at)
            self.at += self._every
            if self.at - looked >= SETTINGS.check_seconds:
                looked = self.at
                self.found += [(self.at, finding) for finding in self.spikes.check(self.at)]
        return [finding for _, finding in self.found[before:]]


def kinds(findings: Iterable[Finding]) -> list[tuple[AnomalyKind, bool]]:
    return [(finding.kind, finding.over) for finding in findings]


SPIKE, SPIKE_OVER = (AnomalyKind.LATENCY_SPIKE, False), (AnomalyKind.LATENCY_SPIKE, True)


def test_a_quantile_is_right_to_two_parts_in_a_hundred() -> None:
    seen = Distribution()
    values = [random.Random(3).expovariate(1) for _ in range(1)] + [n / 100 for n in range(1, 1001)]
    for value in values:
        seen.add(value)
    exact = sorted(values)[int(len(values) * 0.95)]
    assert exact <= seen.quantile(0.95) * 1.001 <= exact * 1.03


def test_what_is_older_than_the_span_is_forgotten() -> None:
    seen = RollingDistribution(100, 10)
    for at in range(0, 1000, 5):
        seen.add(1.0, at)
    assert seen.between(0, 900).total < 25
    assert seen.between(950, 1000).total == 10


def test_a_spike_is_found_once_and_its_end_once() -> None:
    traffic = Traffic()
    assert traffic.goes_on(4000) == []
    found = traffic.goes_on(1200, times=2.0)
    assert kinds(found) == [SPIKE]
    assert found[0].subject == BRAIN
    assert 1.5 < found[0].figures["p95_seconds"] / found[0].figures["baseline_p95_seconds"] < 2.5
    assert kinds(traffic.goes_on(1200)) == [SPIKE_OVER]


def test_a_spike_is_found_within_its_first_window() -> None:
    traffic = Traffic()
    traffic.goes_on(4000)
    traffic.goes_on(1200, times=2.0)
    assert traffic.found[0][0] - 4000 <= SETTINGS.window_seconds


@pytest.mark.parametrize("seed", range(4))
def test_a_heavy_tail_alone_is_no_spike(seed: int) -> None:
    """A lognormal with a shape of 1.5: its 95th percentile of 100 varies by far more than 20 %."""
    assert Traffic(3.0, seed=seed).goes_on(20_000, shape=1.5) == []


def test_ten_parts_in_a_hundred_are_no_spike() -> None:
    traffic = Traffic()
    traffic.goes_on(4000)
    assert traffic.goes_on(4000, times=1.1) == []


def test_few_observations_say_nothing() -> None:
    traffic = Traffic(20.0)
    traffic.goes_on(4000)
    assert traffic.goes_on(1200, times=5.0) == []


def test_what_wavers_about_the_bound_is_told_once() -> None:
    traffic = Traffic()
    traffic.goes_on(4000)
    found = [finding for _ in range(4) for times in (1.5, 1.3) for finding in traffic.goes_on(300, times)]
    assert kinds(found) == [SPIKE]


def test_what_lasts_as_long_as_a_baseline_is_the_new_one() -> None:
    traffic = Traffic()
    traffic.goes_on(4000)
    assert kinds(traffic.goes_on(9000, times=2.0)) == [SPIKE, SPIKE_OVER]


def test_a_subject_that_is_not_asked_any_more_has_no_spike() -> None:
    traffic = Traffic()
    traffic.goes_on(4000)
    traffic.goes_on(600, times=2.0)
    assert kinds(traffic.spikes.check(traffic.at + 1000)) == [SPIKE_OVER]


def test_fast_answers_are_no_spike_however_much_slower() -> None:
    spikes = LatencySpikes(SETTINGS)
    for at in range(4000):
        spikes.observe("route /", 0.001 if at < 3700 else 0.003, at)
    assert list(spikes.check(4000)) == []


def test_the_subjects_that_are_watched_are_bounded() -> None:
    spikes = LatencySpikes(SETTINGS)
    for number in range(1000):
        spikes.observe(f"route /{number}", 1.0, number)
    assert len(spikes._subjects) == 128


# -- loops ---------------------------------------------------------------------------------------


def loops(*signatures: int, repeats: int = 5) -> list[int]:
    watch = LoopWatch(repeats)
    return [length for signature in signatures if (length := watch.add(signature))]


def test_the_same_call_with_the_same_result_is_a_loop_the_fifth_time() -> None:
    assert loops(1, 1, 1, 1) == []
    assert loops(1, 1, 1, 1, 1) == [1]


def test_a_loop_is_told_once_and_told_again_after_something_else() -> None:
    assert loops(*[1] * 50) == [1]
    assert loops(*[1] * 9, 2, *[1] * 5) == [1, 1]


def test_a_round_of_several_calls_is_a_loop() -> None:
    assert loops(*[1, 2] * 5) == [2]
    assert loops(*[1, 2, 3, 4] * 5) == [4]
    assert loops(*[1, 2, 3] * 20) == [3]


def test_polling_whose_results_differ_is_no_loop() -> None:
    assert loops(*range(100)) == []
    assert loops(1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3) == []


def test_working_between_two_equal_calls_is_no_loop() -> None:
    """Tests that fail the same way after each of several different edits."""
    assert loops(*(call for edit in range(2, 20) for call in (edit, 1))) == []


def test_a_users_word_begins_the_count_anew() -> None:
    watch = LoopWatch(5)
    assert not any(watch.add(1) for _ in range(4))
    watch.restart()
    assert not any(watch.add(1) for _ in range(4))
    assert watch.add(1) == 1


# -- costs ---------------------------------------------------------------------------------------


def test_a_turn_that_costs_far_more_than_others_is_a_spike() -> None:
    turns = TurnCosts(SETTINGS)
    for number in range(100):
        turns.ended(0.1 + number / 1000, number)
    assert turns.check("sesn_1", 0.9, 100) is None
    found = turns.check("sesn_1", 1.2, 100)
    assert found is not None and (found.kind, found.session_id) == (AnomalyKind.SESSION_COST_SPIKE, "sesn_1")


def test_a_turn_that_costs_little_is_none_and_neither_is_one_without_others() -> None:
    turns = TurnCosts(SETTINGS)
    assert turns.check("sesn_1", 100, 0) is None
    for at in range(100):
        turns.ended(0.001, at)
    assert turns.check("sesn_1", 0.4, 100) is None


def spend(rate: SpendingRate, begin: int, end: int, usd: float) -> list[Finding]:
    """Spend *usd* every 10 seconds."""
    found: list[Finding] = []
    for at in range(begin, end, 10):
        rate.spend(usd, at)
        found += rate.check(at)
    return found


COST, COST_OVER = (AnomalyKind.COST_SPIKE, False), (AnomalyKind.COST_SPIKE, True)


def test_spending_three_times_as_fast_is_a_spike_until_it_is_over() -> None:
    rate = SpendingRate(SETTINGS)
    assert spend(rate, 0, 4000, 0.1) == []
    found = spend(rate, 4000, 5000, 0.3)
    assert kinds(found) == [COST]
    assert found[0].figures["baseline_usd_per_hour"] == pytest.approx(36, rel=0.05)
    assert kinds(spend(rate, 5000, 6000, 0.1)) == [COST_OVER]


def test_what_costs_little_and_what_has_just_begun_is_no_spike() -> None:
    rate = SpendingRate(SETTINGS)
    assert spend(rate, 0, 4000, 0.001) + spend(rate, 4000, 5000, 0.01) == []
    rate = SpendingRate(SETTINGS)
    assert spend(rate, 0, 600, 0.1) + spend(rate, 600, 1200, 1.0) == []


# -- ownership -----------------------------------------------------------------------------------


def test_a_session_that_commits_nothing_for_ten_minutes_is_stuck_until_it_goes_on() -> None:
    stuck, begun = StuckSessions(SETTINGS), NOW - timedelta(seconds=700)
    assert list(stuck.check([("sesn_1", begun)], begun)) == []
    assert list(stuck.check([("sesn_1", begun)], begun + timedelta(seconds=599))) == []
    [found] = stuck.check([("sesn_1", begun), ("sesn_2", NOW)], NOW)
    assert (found.kind, found.session_id, found.over) == (AnomalyKind.STUCK_SESSION, "sesn_1", False)
    assert list(stuck.check([("sesn_1", begun)], NOW)) == []
    [over] = stuck.check([("sesn_1", NOW)], NOW)
    assert (over.session_id, over.over) == ("sesn_1", True)


def test_a_session_that_was_just_taken_up_is_not_stuck_for_having_stood_still_before() -> None:
    stuck, last = StuckSessions(SETTINGS), NOW - timedelta(days=1)
    assert list(stuck.check([("sesn_1", last)], NOW)) == []
    assert [finding.over for finding in stuck.check([("sesn_1", last)], NOW + timedelta(seconds=600))] == [False]


def test_a_stuck_session_that_is_gone_is_stuck_no_more() -> None:
    stuck = StuckSessions(SETTINGS)
    for at in (NOW, NOW + timedelta(hours=1)):
        list(stuck.check([("sesn_1", NOW)], at))
    assert [finding.over for finding in stuck.check([], NOW + timedelta(hours=2))] == [True]


def test_several_waves_of_takeovers_are_a_storm_and_one_is_not() -> None:
    storms = TakeoverStorms(SETTINGS)
    one_owner_died = [64, 64, 66, 68, 70, 72, 74, 76]
    assert [f for i, n in enumerate(one_owner_died) for f in storms.check(n, i * 15)] == []
    found = [f for i in range(10) for f in storms.check(76 + i * 16, 200 + i * 45)]
    assert kinds(found) == [(AnomalyKind.TAKEOVER_STORM, False)]
    assert kinds(storms.check(220, 2000)) == [(AnomalyKind.TAKEOVER_STORM, True)]
