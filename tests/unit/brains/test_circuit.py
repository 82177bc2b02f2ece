"""When a brain that keeps failing is passed over, and when it is asked again.

Bug class this catches: a brain that every request waits for in vain, or one that is never asked again.
"""

from __future__ import annotations

import pytest

from agents.brains.circuit import Circuits
from agents.brains.port import BrainFailure, BrainLost, FailureKind, Refusal

FAULT = BrainFailure("request_failed", "the model server is broken", transient=True)


class Asker:
    """Somebody who asks one brain, by a clock of his own."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.circuits = Circuits(lambda: self.time)

    @property
    def asks(self) -> bool:
        return self.circuits.why_not("b@1") is None

    def fails(self, times: int = 1, *, failure: BrainFailure = FAULT, after: float = 30.0) -> None:
        for _ in range(times):
            with self.circuits.attempt("b@1") as attempt:
                self.time += after
                attempt.failed(failure)

    def succeeds(self, times: int = 1) -> None:
        for _ in range(times):
            with self.circuits.attempt("b@1") as attempt:
                attempt.answers()
                attempt.succeeded()


@pytest.fixture
def asker() -> Asker:
    return Asker()


def test_five_failures_in_a_row_open_the_circuit_of_that_brain_alone(asker: Asker) -> None:
    asker.fails(4)
    assert asker.asks
    asker.fails()
    assert asker.circuits.why_not("b@1") == "it keeps failing, and is tried again in 10 s"
    assert asker.circuits.why_not("other@1") is None


def test_metrics_tell_whether_it_is_open_and_how_often_it_was(asker: Asker) -> None:
    told: list[tuple[int, int]] = []

    def look() -> None:
        figures = asker.circuits.figures("b@1")
        told.append((figures["circuit_open"], figures["circuit_openings"]))

    look()
    asker.fails(5)
    look()
    asker.time += 10
    look()
    asker.fails()  # the trial
    look()
    asker.time += 20
    asker.succeeds()
    look()
    asker.fails(5)
    look()
    assert told == [(0, 0), (1, 1), (1, 1), (1, 1), (0, 1), (1, 2)]
    assert asker.circuits.figures("other@1") == {"circuit_open": 0, "circuit_openings": 0}


def test_a_success_between_begins_the_row_anew(asker: Asker) -> None:
    for _ in range(3):
        asker.fails(4)
        asker.succeeds(5)
    assert asker.asks


def test_half_of_the_last_twenty_open_it_although_successes_lie_between(asker: Asker) -> None:
    asker.succeeds(4)
    for _ in range(7):
        asker.fails()
        asker.succeeds()
    asker.fails(2)
    assert asker.asks  # nine of twenty
    asker.fails()
    assert not asker.asks


@pytest.mark.parametrize(
    "failure",
    [
        BrainLost("the replica died"),
        BrainFailure("request_failed", "too long", transient=False, refusal=Refusal(400, "too long")),
    ],
)
def test_lost_replicas_and_refused_requests_do_not_count(asker: Asker, failure: BrainFailure) -> None:
    asker.fails(30, failure=failure)
    assert asker.asks


@pytest.mark.parametrize("kind", ["overloaded", "rate_limited"])
def test_that_it_is_busy_counts_only_when_it_took_long_to_say_so(asker: Asker, kind: FailureKind) -> None:
    busy = BrainFailure(kind, "busy", transient=True)
    asker.fails(30, failure=busy, after=0.9)
    assert asker.asks
    asker.fails(5, failure=busy, after=120.0)
    assert not asker.asks


def test_after_the_pause_one_request_tries_it_and_its_first_content_closes_the_circuit(asker: Asker) -> None:
    asker.fails(5)
    asker.time += 9.9
    assert not asker.asks
    asker.time += 0.1
    assert asker.asks
    with asker.circuits.attempt("b@1") as trial:
        assert asker.circuits.why_not("b@1") == "it keeps failing, and is being tried again"
        trial.answers()
        assert asker.asks
        trial.succeeded()
    asker.fails(4)
    assert asker.asks  # what was before is forgotten


def test_the_pause_doubles_while_trials_fail_up_to_a_minute(asker: Asker) -> None:
    asker.fails(5)
    for pause in (20, 40, 60, 60):
        asker.time += 60
        asker.fails()
        asker.time += pause - 0.1
        assert not asker.asks
        asker.time += 0.1
        assert asker.asks


def test_a_trial_that_is_given_up_lets_the_next_one_try(asker: Asker) -> None:
    asker.fails(5)
    asker.time += 10
    with asker.circuits.attempt("b@1"):
        assert not asker.asks
    assert asker.asks


def test_requests_from_before_it_opened_tell_nothing_new(asker: Asker) -> None:
    with asker.circuits.attempt("b@1") as early, asker.circuits.attempt("b@1") as earlier:
        asker.fails(5)
        asker.time += 10
        early.failed(FAULT)
        earlier.answers()
        earlier.succeeded()
        with asker.circuits.attempt("b@1") as trial:
            assert trial.since_broken
            assert not asker.asks


def test_one_that_was_asked_for_want_of_another_and_answers_closes_the_circuit(asker: Asker) -> None:
    asker.fails(5)
    asker.fails(3, after=1)
    assert not asker.asks
    asker.succeeds()
    assert asker.asks
