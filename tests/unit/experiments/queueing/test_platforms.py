"""What the two topologies hold, run beside each other and lose.

Bug class: a fault that nobody pays for, or that hits the other topology; hands that do not follow the load.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from agents.brains.service_time import ServiceTime
from agents.errors import InvalidRequest
from agents.experiments.model.queueing.inputs import Empirical, Faults, Hands, Requests, Stretch, Workload
from agents.experiments.model.queueing.simulation import simulate
from tests.unit.experiments.queueing.platforms import SECOND, at, poisson, system, work

THREE = work(("look", "look", "look"))


@pytest.mark.parametrize(("parallel", "seconds"), [(True, 1.0), (False, 3.0)])
@pytest.mark.parametrize("topology", ["decoupled", "monolith"])
def test_calls_of_one_step_take_the_longest_or_the_sum(topology: str, parallel: bool, seconds: float) -> None:
    platform = system(topology, SECOND, parallel_calls=parallel)
    done = simulate(at(0.0), [THREE], platform, Stretch(60.0))
    assert done.requests.latency == pytest.approx([2 + seconds], abs=1e-5)
    assert done.figures.tool_calls == 3


def test_calls_wait_for_hands_that_are_too_few() -> None:
    platform = system("decoupled", SECOND, hands=(Hands(concurrency=2),))
    done = simulate(at(0.0), [THREE], platform, Stretch(60.0))
    assert done.requests.latency == pytest.approx([2 + 2], abs=1e-5)
    assert done.figures.mean_hand_wait_seconds == pytest.approx(1 / 3)


def test_each_tool_is_run_by_the_hands_that_have_it() -> None:
    hands = (Hands("crm", ("look",), concurrency=1), Hands("others"))
    platform = system("decoupled", tools={"look": Empirical.fixed(1.0), "bash": Empirical.fixed(3.0)}, hands=hands)
    done = simulate(at(0.0), [work(("look", "look", "bash"))], platform, Stretch(10.0)).figures
    assert [each.name for each in done.hands] == ["crm", "others"]
    assert [each.busy_share * 10 for each in done.hands] == pytest.approx([2, 3 / 16])


def test_a_turn_of_a_monolith_holds_its_place_while_its_tools_run() -> None:
    two = at(0.0, 0.0)
    monolith = simulate(two, [work(("look",))], system("monolith", SECOND), Stretch(60.0)).requests
    assert sorted(monolith.latency) == pytest.approx([3, 6], abs=1e-5)
    decoupled = simulate(two, [work(("look",))], system("decoupled", SECOND), Stretch(60.0)).requests
    assert sorted(decoupled.latency) == pytest.approx([3, 4], abs=1e-5)


def test_more_turns_than_places_wait_at_the_gpu_of_a_monolith() -> None:
    done = simulate(at(0.0, 0.0), [work(("look",))], system("monolith", SECOND, turns=2), Stretch(60.0)).requests
    assert sorted(done.latency) == pytest.approx([3, 4], abs=1e-5)


def test_hands_follow_the_load_up_and_down() -> None:
    hands = Hands(min_replicas=0, max_replicas=3, concurrency=2, start_seconds=4, idle_seconds=10, decide_seconds=2)
    platform = system("decoupled", tools={"look": Empirical.fixed(10.0)}, hands=(hands,))
    burst = at(*[0.0] * 6)
    done = simulate(burst, [work(("look",))], platform, Stretch(100.0, patience=0))
    # Two at once; decided at 2, the others begin when two more replicas are there at 6.
    assert sorted(done.requests.latency) == pytest.approx([10, 10, 16, 16, 16, 16], abs=1e-5)
    assert done.figures.hands[0].most_replicas == 3
    # From 10 on one is too many, but not for ten seconds until four calls end at 16; then all are, and end at 20.
    assert 100 * done.figures.hands[0].mean_replicas == pytest.approx(20 + 2 * 14)


def test_sessions_that_never_end_count_as_such() -> None:
    platform = system("decoupled", SECOND)
    done = simulate(at(0.0, 0.0, 0.0), [work(tokens=1000)], platform, Stretch(5.0, patience=20))
    assert (done.figures.served, done.figures.unfinished) == (2, 1)
    assert done.figures.error_rate == pytest.approx(1 / 3)
    assert sorted(done.requests.latency) == pytest.approx([10, 20, 25], abs=1e-5)
    assert done.figures.throughput_per_second == 0


def test_a_closed_loop_begins_a_turn_when_one_has_ended() -> None:
    many = Requests(np.zeros(100), np.zeros(100, dtype=np.int64), ("work",))
    done = simulate(many, [work()], system("decoupled", SECOND, gpus=2), Stretch(10.5), under_way=2)
    assert done.figures.due == 22
    assert done.requests.due[:4].tolist() == pytest.approx([0, 0, 1, 1])
    assert done.figures.served == 22


# -- faults --------------------------------------------------------------------------------------


def _faulty(topology: str, **more: object) -> dict:
    faults = Faults(mean_seconds_between=100, replace_seconds=5)
    platform = system(topology, ServiceTime(max_batch=4), gpus=4, brain_faults=faults, **more)
    return simulate(poisson(1.0, 1600), [work(("look",), ("look",))], platform, Stretch(1500.0)).figures.as_dict()


def test_a_fault_takes_the_turns_of_a_monolith_down_and_costs_a_decoupled_platform_another_try() -> None:
    monolith, decoupled = _faulty("monolith"), _faulty("decoupled")
    for done in (monolith, decoupled):
        # Four replicas that live 100 s and are away 5 s: 57 in 1500 s on average.
        assert done["replicas_lost"] == pytest.approx(4 * 1500 / 105, rel=0.25)
    assert monolith["failed"] > 50
    assert monolith["retries"] == 0
    assert monolith["mtbf_hours"] == pytest.approx(1500 / 3600 / monolith["failed"])
    assert decoupled["failed"] == 0
    assert decoupled["mtbf_hours"] is None
    assert decoupled["retries"] > 50
    assert 0 < decoupled["retry_rate"] <= decoupled["retries"] / 1400
    assert decoupled["served"] == decoupled["due"]


def test_a_client_of_a_monolith_that_asks_again_gets_its_answer() -> None:
    done = _faulty("monolith", turn_retries=20)
    assert done["failed"] == 0
    assert done["retries"] > 50


def test_a_turn_is_lost_when_its_parts_were_tried_often_enough() -> None:
    assert _faulty("decoupled", part_retries=0)["failed"] > 50


def test_a_lost_hand_costs_its_calls_another_try_and_is_replaced() -> None:
    hands = Hands(min_replicas=2, max_replicas=2, concurrency=4, faults=Faults(100, replace_seconds=1))
    platform = system("decoupled", hands=(hands,), part_retries=50)
    done = simulate(poisson(2.0, 2400), [work(("look",))], platform, Stretch(1200.0)).figures
    assert done.replicas_lost == pytest.approx(2 * 1200 / 101, rel=0.5)
    assert done.retries > 10
    assert (done.failed, done.unfinished) == (0, 0)
    assert done.hands[0].mean_replicas == pytest.approx(2 - done.replicas_lost / 1200, abs=1e-3)


def test_a_monolith_fails_as_often_as_all_of_its_parts() -> None:
    hands = tuple(Hands(name, (name,), faults=Faults(300, replace_seconds=20)) for name in ("a", "b"))
    whole = system("monolith", brain_faults=Faults(150), hands=hands).whole_faults
    assert whole is not None
    assert whole.mean_seconds_between == pytest.approx(75)
    assert whole.replace_seconds == 20
    assert replace(system("monolith"), hands=(Hands(),)).whole_faults is None


# -- what goes in and out --------------------------------------------------------------------------


def test_figures_are_json() -> None:
    figures = simulate(at(0.0), [THREE], system(), Stretch(10.0)).figures.as_dict()
    assert json.loads(json.dumps(figures, allow_nan=False))["latency_seconds"]["p95"] == pytest.approx(1)


def test_nothing_at_all_is_no_error() -> None:
    figures = simulate(at(), [THREE], system(), Stretch(10.0)).figures
    assert (figures.due, figures.latency_seconds, figures.error_rate) == (0, None, None)


def test_a_dozen_events_are_enough_for_a_request() -> None:
    """What a run costs is in proportion to them: few for a model request, one for a call, none for a token."""
    platform = system("decoupled", ServiceTime(), gpus=8, hands=(Hands(concurrency=64),))
    done = simulate(poisson(6.0, 1000), [THREE], platform, Stretch(500.0)).figures
    assert done.events / done.due < 1 + 2 * 4 + 3


@pytest.mark.parametrize(
    ("names", "workload", "message"),
    [
        (("other",), THREE, "there is none named other"),
        (("work",), work(("dig",)), "how long the tool 'dig' takes"),
        (("work",), Workload("work", ()), "at least one shape"),
        (("work",), work(tokens=-1), "tokens_out: must be 0 or more"),
    ],
)
def test_what_cannot_be_played_is_said(names: tuple[str, ...], workload: Workload, message: str) -> None:
    requests = Requests(np.array([0.0]), np.array([0]), names)
    with pytest.raises(InvalidRequest, match=message):
        simulate(requests, [workload], system(), Stretch(10.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Requests(np.array([2.0, 1.0]), np.array([0, 0]), ("work",)), "due: .* ascending"),
        (lambda: Requests(np.array([1.0]), np.array([1]), ("work",)), "workload: must be places among"),
        (lambda: Requests(np.array([1.0]), np.array([0, 0]), ("work",)), "workload: has 2 values"),
        (lambda: Empirical.of([]), "at least one value"),
        (lambda: Empirical.of([1.0, float("nan")]), "finite"),
        (lambda: Faults(0), "mean_seconds_between: must be above 0"),
        (lambda: Hands(min_replicas=3, max_replicas=2), "min_replicas <= max_replicas"),
        (lambda: Stretch(10, warm_up=10), "warm_up"),
        (lambda: system(gpus=0), "gpus: must be at least 1"),
    ],
)
def test_bad_inputs_say_what_would_be_right(make: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        make()


def test_many_values_keep_their_mean_and_quantiles() -> None:
    values = np.random.default_rng(1).lognormal(0, 1, 50_001)
    kept = Empirical.of(values)
    assert len(kept.values) == 2000
    assert kept.mean == pytest.approx(float(values.mean()), rel=1e-3)
    assert np.percentile(kept.values, [5, 50, 99]) == pytest.approx(np.percentile(values, [5, 50, 99]), rel=0.01)
