"""``/metrics`` in Prometheus' text format (ours), read back by Prometheus' own parser."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from agents.telemetry import catalogue
from agents.telemetry.metrics import render_metrics
from agents.telemetry.recorder import Recorded, Recorder


def families(recorded: Recorded | None) -> dict[str, Metric]:
    text = render_metrics({"harness-0": {"active": 1}}, {}, recorded=recorded).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(family: Metric) -> dict[tuple[str, ...], float]:
    return {(sample.name, *sample.labels.values()): sample.value for sample in family.samples}


def test_every_metric_of_the_catalogue_has_its_kind_and_help() -> None:
    found = families({})
    for metric in catalogue.CATALOGUE:
        family = found[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind.value, metric.help)


def test_counters_gauges_and_histograms_are_read_back() -> None:
    recorder = Recorder()
    recorder.count(catalogue.MODEL_REQUESTS, "qwen@1", "ok", by=4)
    recorder.collect(lambda each: each.set(catalogue.LEASES, 64, "harness-0"))
    for seconds in (0.004, 0.03, 7000.0):
        recorder.observe(catalogue.TURN_SECONDS, seconds)
    found = families(recorder.snapshot())
    assert samples(found["hecaton_model_requests"]) == {("hecaton_model_requests_total", "qwen@1", "ok"): 4.0}
    assert samples(found["hecaton_leases"]) == {("hecaton_leases", "harness-0"): 64.0}
    turns = samples(found["hecaton_turn_duration_seconds"])
    name = "hecaton_turn_duration_seconds"
    assert turns[f"{name}_bucket", "0.01"] == 1 and turns[f"{name}_bucket", "0.05"] == 2
    assert turns[f"{name}_bucket", "3600.0"] == 2 and turns[f"{name}_bucket", "+Inf"] == 3
    assert turns[f"{name}_count",] == 3 and turns[f"{name}_sum",] == 7000.034


def test_counters_with_known_labels_begin_with_0() -> None:
    found = families({})
    assert samples(found["hecaton_session_failures"]) == {("hecaton_session_failures_total",): 0.0}
    assert samples(found["hecaton_turns"])["hecaton_turns_total", "failed"] == 0.0
    assert samples(found["hecaton_turn_duration_seconds"])["hecaton_turn_duration_seconds_count",] == 0.0
    assert found["hecaton_tool_calls"].samples == [], "which hands there will be, nobody knows"
    assert found["hecaton_stuck_sessions"].samples == [], "nobody has looked"


def test_the_names_of_before_stay() -> None:
    assert samples(families({})["hecaton_harness_active"]) == {("hecaton_harness_active", "harness-0"): 1.0}


def test_where_nothing_is_recorded_nothing_is_told_of_it() -> None:
    assert set(families(None)) == {"hecaton_harness_members", "hecaton_harness_active"}


def test_no_two_metrics_have_one_name() -> None:
    figures = {"harness-0": {"active": 1, "brains": {"b@1": {"replicas": 1, "requests_waiting": 0}}}}
    text = render_metrics(figures, {"host-0": {"live": 1}}, {"b": {"usd_per_hour": 1}}, {"share": 0}, recorded={})
    types = [line for line in text.decode().splitlines() if line.startswith("# TYPE")]
    assert len(types) == len({line.split()[2] for line in types})
