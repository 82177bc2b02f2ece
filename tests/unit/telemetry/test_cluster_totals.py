"""The sums of a platform whose processes come and go (ours): counters never fall, gauges are of who is there."""

from __future__ import annotations

import json

from agents.telemetry import catalogue
from agents.telemetry.cluster_totals import PRESENT_SECONDS, ClusterTotals, Floor
from agents.telemetry.metric import MOST_VALUES, OTHER, Metric
from agents.telemetry.recorder import Labels, Recorded


def failures(count: float, **more: float) -> Recorded:
    gauges = {name: {(): (value,)} for name, value in more.items()}
    return {"hecaton_session_failures_total": {(): (count,)}, **gauges}


def value(recorded: Recorded, metric: Metric = catalogue.SESSION_FAILURES, labels: Labels = ()) -> float | None:
    series = recorded.get(metric.name, {})
    return series[labels][0] if labels in series else None


def test_processes_are_added_up_and_each_counts_once() -> None:
    totals = ClusterTotals()
    totals.take("a", failures(3), 0.0)
    totals.take("b", failures(4), 0.0)
    totals.take("a", failures(5), 1.0)
    assert value(totals.totals(1.0)) == 9


def test_a_process_that_is_gone_keeps_its_counters_and_loses_its_gauges() -> None:
    totals = ClusterTotals()
    totals.take("a", failures(3, hecaton_streams=7), 0.0)
    totals.take("b", failures(1, hecaton_streams=2), PRESENT_SECONDS)
    now = totals.totals(PRESENT_SECONDS)
    assert value(now) == 4
    assert value(now, catalogue.STREAMS) == 2


def test_a_gauge_that_everybody_sees_is_not_added_up() -> None:
    totals = ClusterTotals()
    for process, replicas in (("a", 2.0), ("b", 3.0)):
        totals.take(process, {"hecaton_hand_replicas": {("crm",): (replicas,)}}, 0.0)
    assert value(totals.totals(0.0), catalogue.HAND_REPLICAS, ("crm",)) == 3


def test_of_many_that_are_gone_the_sum_is_kept_and_none_counts_twice() -> None:
    totals = ClusterTotals(most=2)
    for number in range(5):
        totals.take(f"p{number}", failures(1, hecaton_streams=1), float(number))
    assert value(totals.totals(5.0)) == 5
    assert value(totals.totals(5.0), catalogue.STREAMS) == 2
    totals.take("p0", failures(2), 6.0)
    assert value(totals.totals(6.0)) == 5


def test_another_keeper_goes_on_with_what_was_dumped() -> None:
    before = ClusterTotals(most=2)
    for number in range(4):
        before.take(f"p{number}", failures(1, hecaton_streams=1), 0.0)
    after = ClusterTotals(most=2)
    after.restore(json.loads(json.dumps(before.dump())))
    assert value(after.totals(0.0)) == 4
    assert value(after.totals(0.0), catalogue.STREAMS) is None, "nobody was heard yet"
    after.take("p3", failures(5, hecaton_streams=1), 1.0)
    after.take("p0", failures(9), 1.0)
    assert value(after.totals(1.0)) == 8
    assert value(after.totals(1.0), catalogue.STREAMS) == 1


def test_histograms_are_added_up_bucket_by_bucket() -> None:
    width = catalogue.TURN_SECONDS.width
    totals = ClusterTotals()
    for process in "ab":
        totals.take(process, {catalogue.TURN_SECONDS.name: {(): tuple(map(float, range(width)))}}, 0.0)
    assert totals.totals(0.0)[catalogue.TURN_SECONDS.name] == {(): tuple(2.0 * each for each in range(width))}


def test_what_another_release_tells_otherwise_is_left_out() -> None:
    totals = ClusterTotals()
    odd: Recorded = {
        "hecaton_of_tomorrow": {(): (1.0,)},
        catalogue.TURN_SECONDS.name: {(): (1.0, 2.0)},
        catalogue.TURNS.name: {("ended", "more"): (1.0,)},
    }
    totals.take("a", {**odd, **failures(1)}, 0.0)
    found = totals.totals(0.0)
    assert value(found) == 1
    assert not any(found.get(name) for name in odd)


def test_labels_are_bounded_over_all_processes() -> None:
    totals = ClusterTotals()
    for process in range(3):
        hands = {(f"hand-{process}-{number}", "ok"): (1.0,) for number in range(MOST_VALUES - 1)}
        totals.take(str(process), {"hecaton_tool_calls_total": hands}, 0.0)
    series = totals.totals(0.0)["hecaton_tool_calls_total"]
    assert len(series) == MOST_VALUES + 1
    assert sum(number for (number,) in series.values()) == 3 * (MOST_VALUES - 1)
    assert series[OTHER, "ok"] == (2.0 * MOST_VALUES - 3,)


def test_a_counter_that_fell_stands_still_until_it_is_where_it_was() -> None:
    floor = Floor()
    told = [value(floor.above(failures(count))) for count in (5, 4, 5, 6)]
    assert told == [5, 5, 5, 6]
    assert value(floor.above({})) == 6
    assert value(floor.above(failures(1, hecaton_streams=3)), catalogue.STREAMS) == 3
    assert value(floor.above(failures(1, hecaton_streams=2)), catalogue.STREAMS) == 2
