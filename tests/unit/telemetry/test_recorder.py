"""Counting in one process (ours): cheap, bounded, and gone when it is switched off."""

from __future__ import annotations

import pytest

from agents.telemetry import catalogue
from agents.telemetry.metric import MOST_VALUES, OTHER, Kind
from agents.telemetry.recorder import Recorder, recorder_for


def test_counters_add_up_by_their_labels() -> None:
    recorder = Recorder()
    recorder.count(catalogue.TOOL_CALLS, "crm", "ok")
    recorder.count(catalogue.TOOL_CALLS, "crm", "ok", by=2)
    recorder.count(catalogue.TOOL_CALLS, "crm", "error")
    assert recorder.snapshot()["hecaton_tool_calls_total"] == {("crm", "ok"): (3.0,), ("crm", "error"): (1.0,)}


def test_a_value_is_in_the_first_bucket_that_is_not_below_it() -> None:
    recorder, histogram = Recorder(), catalogue.APPEND_BATCH
    for value in (1.0, 1.5, 2.0, 10_000.0):
        recorder.observe(histogram, value)
    [(total, *counts)] = recorder.snapshot()[histogram.name].values()
    assert total == 10_004.5
    assert counts == [1.0, 2.0, *[0.0] * (len(histogram.buckets) - 2), 1.0]


def test_values_beyond_the_bound_of_a_label_are_told_together() -> None:
    recorder = Recorder()
    for number in range(MOST_VALUES + 5):
        recorder.count(catalogue.TOOL_CALLS, f"hand-{number}", "ok")
    recorder.count(catalogue.TOOL_CALLS, "hand-0", "ok")
    series = recorder.snapshot()["hecaton_tool_calls_total"]
    assert len(series) == MOST_VALUES + 1
    assert series["hand-0", "ok"] == (2.0,) and series[OTHER, "ok"] == (5.0,)


def test_a_label_with_known_values_has_no_others() -> None:
    recorder = Recorder()
    recorder.count(catalogue.TURNS, "exploded")
    assert recorder.snapshot()["hecaton_turns_total"] == {(OTHER,): (1.0,)}


def test_a_metric_takes_its_own_labels_only() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Recorder().count(catalogue.TOOL_CALLS, "crm")


def test_gauges_are_told_anew_each_time() -> None:
    hands = {"crm": 3.0}

    def tell(recorder: Recorder) -> None:
        for hand, running in hands.items():
            recorder.add(catalogue.HAND_CALLS_RUNNING, running, hand)

    recorder = Recorder()
    recorder.collect(tell)
    recorder.collect(tell)
    assert recorder.snapshot()["hecaton_hand_calls_running"] == {("crm",): (6.0,)}
    hands.clear()
    assert "hecaton_hand_calls_running" not in recorder.snapshot()


def test_a_snapshot_does_not_change_afterwards() -> None:
    recorder = Recorder()
    recorder.count(catalogue.SESSION_FAILURES)
    before = recorder.snapshot()
    recorder.count(catalogue.SESSION_FAILURES)
    assert before["hecaton_session_failures_total"] == {(): (1.0,)}


def test_without_metrics_nothing_is_recorded() -> None:
    recorder = recorder_for(metrics=False)
    recorder.collect(lambda _: pytest.fail("nobody asks"))
    recorder.count(catalogue.SESSION_FAILURES)
    recorder.observe(catalogue.TURN_SECONDS, 1.0)
    assert not recorder.on and recorder.snapshot() == {}


def test_every_process_has_a_name_of_its_own() -> None:
    assert Recorder().process != Recorder().process


def test_names_and_units_follow_the_conventions() -> None:
    names = [metric.name for metric in catalogue.CATALOGUE]
    assert len(names) == len(set(names)) >= 35
    for metric in catalogue.CATALOGUE:
        assert metric.name.startswith("hecaton_") and not metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        assert (metric.kind is Kind.HISTOGRAM) == bool(metric.buckets), metric.name
        assert list(metric.buckets) == sorted(set(metric.buckets))
        if metric.unit == "seconds":
            assert metric.name.endswith("_seconds"), metric.name
