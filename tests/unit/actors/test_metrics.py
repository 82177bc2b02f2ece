"""How figures get from processes to ``/metrics`` and to Ray's charts (ours), without Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ray.util import metrics as ray_metrics

from actors import cluster_metrics, metrics_keeper, ray_charts
from actors.cluster_metrics import ClusterMetrics
from actors.metrics_keeper import MetricsKeeper
from actors.ray_charts import RayCharts
from agents.clock import ManualClock
from agents.errors import Unavailable
from agents.governance.hand_releases import HandReleases
from agents.store.memory import MemoryStore
from agents.telemetry import catalogue
from agents.telemetry.cluster_totals import ClusterTotals
from agents.telemetry.recorder import Recorded, Recorder


def failures(count: float) -> Recorded:
    return {"hecaton_session_failures_total": {(): (count,)}}


# -- the fleet's sum -------------------------------------------------------------------------------


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    made: dict[str, Any] = {}

    def put(name: str, value: Any) -> int:
        made[name] = value
        return len(made)

    monkeypatch.setattr(metrics_keeper, "get_note", made.get)
    monkeypatch.setattr(metrics_keeper, "put_note", put)
    return made


async def test_the_first_fleet_tells_sums_at_once(notes: dict[str, Any]) -> None:
    keeper = MetricsKeeper()
    await keeper.start()
    keeper.take("a", failures(2))
    keeper.take("b", failures(3))
    assert keeper.totals() == failures(5)


async def test_one_that_follows_another_waits_for_everybody_and_goes_on(
    notes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ClusterTotals()
    before.take("gone", failures(2), 0.0)
    before.take("alive", failures(3), 0.0)
    notes["metrics"] = before.dump()
    keeper = MetricsKeeper()
    await keeper.start()
    keeper.take("alive", failures(4))
    with pytest.raises(Unavailable):
        keeper.totals()
    monkeypatch.setattr(metrics_keeper, "_HEAR_SECONDS", 0.0)
    assert keeper.totals() == failures(6)


async def test_a_note_that_cannot_be_read_costs_only_what_it_had(
    notes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_keeper, "_HEAR_SECONDS", 0.0)
    notes["metrics"] = {"of": "tomorrow"}
    keeper = MetricsKeeper()
    await keeper.start()
    keeper.take("a", failures(1))
    assert keeper.totals() == failures(1)


# -- any gateway -----------------------------------------------------------------------------------


class Fleet:
    """Answers as often as it has something to say."""

    def __init__(self, *answers: Recorded | Exception) -> None:
        self._answers = list(answers)

    async def ask(self, question: str, *, timeout: float) -> Recorded:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def gathered(monkeypatch: pytest.MonkeyPatch, fleet: Fleet) -> ClusterMetrics:
    monkeypatch.setattr(cluster_metrics, "ask_fleet", fleet.ask)
    store, clock = MemoryStore(), ManualClock()
    return ClusterMetrics(store.sessions, HandReleases(store.hand_releases, dict, clock), clock)


async def test_a_gateway_adds_what_the_store_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await gathered(monkeypatch, Fleet(failures(2))).recorded()
    assert found["hecaton_session_failures_total"] == {(): (2.0,)}
    assert found["hecaton_sessions"]["idle",] == (0.0,) and len(found["hecaton_sessions"]) == 4
    assert found["hecaton_stuck_sessions"] == {(): (0.0,)}


async def test_while_the_fleet_is_away_the_figures_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    away, old = Unavailable("away"), AttributeError("'ActorHandle' object has no attribute 'metrics'")
    cluster = gathered(monkeypatch, Fleet(failures(5), away, old, failures(4), failures(6)))
    told = [(await cluster.recorded())["hecaton_session_failures_total"][()] for _ in range(5)]
    assert told == [(5.0,), (5.0,), (5.0,), (5.0,), (6.0,)]


# -- Ray's charts ----------------------------------------------------------------------------------


class Told:
    """Stands for the metrics of ``ray.util.metrics``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, float, Mapping[str, str]]] = []
        for kind, method in (
            (ray_metrics.Counter, "inc"),
            (ray_metrics.Gauge, "set"),
            (ray_metrics.Histogram, "observe"),
        ):
            monkeypatch.setattr(kind, method, self._heard)

    @property
    def _heard(self) -> Any:
        told = self.calls

        def heard(metric: ray_metrics.Metric, value: float, tags: Mapping[str, str]) -> None:
            assert set(tags) == set(metric.info["tag_keys"])
            told.append((metric.info["name"], value, tags))

        return heard


def test_ray_is_told_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    told, recorder, charts = Told(monkeypatch), Recorder(), RayCharts("harness")
    streams = [3.0]
    recorder.collect(lambda each: each.set(catalogue.STREAMS, streams[0]) if streams else None)
    recorder.count(catalogue.TURNS, "ended", by=2)
    charts.show(recorder.snapshot())
    assert told.calls == [
        ("hecaton_turns_total", 2.0, {"part": "harness", "outcome": "ended"}),
        ("hecaton_streams", 3.0, {"part": "harness"}),
    ]
    told.calls.clear()
    charts.show(recorder.snapshot())
    assert told.calls == []
    recorder.count(catalogue.TURNS, "ended")
    streams.clear()
    charts.show(recorder.snapshot())
    assert told.calls == [
        ("hecaton_turns_total", 1.0, {"part": "harness", "outcome": "ended"}),
        ("hecaton_streams", 0.0, {"part": "harness"}),
    ]


def test_each_value_of_a_histogram_is_told_in_its_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    told, recorder, charts = Told(monkeypatch), Recorder(), RayCharts("harness")
    values = (0.0005, 0.02, 0.02, 99.0)
    for value in values:
        recorder.observe(catalogue.APPEND_SECONDS, value)
    charts.show(recorder.snapshot())
    again = Recorder()
    for _, value, _ in told.calls:
        again.observe(catalogue.APPEND_SECONDS, value)
    [before], [after] = (each.snapshot()[catalogue.APPEND_SECONDS.name].values() for each in (recorder, again))
    assert after[1:] == before[1:]


def test_of_very_many_values_ray_is_told_some(monkeypatch: pytest.MonkeyPatch) -> None:
    told, recorder, charts = Told(monkeypatch), Recorder(), RayCharts("harness")
    for _ in range(ray_charts._MOST_VALUES + 10):
        recorder.observe(catalogue.APPEND_SECONDS, 0.02)
    charts.show(recorder.snapshot())
    assert len(told.calls) == ray_charts._MOST_VALUES
