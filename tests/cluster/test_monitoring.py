"""A real Prometheus scrapes the platform with our rules (ours): they are sound, record, and fire when they should.

Bug class this catches: rules whose metrics are called otherwise on the live platform, or have other labels; alerts that
fire on a platform that is well; anomalies that never reach the alert.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.prometheus_server import Prometheus, prometheus_of
from tests.conformance.platform import LivePlatform
from tests.conformance.scene import Scene, bash, calls, message, says, toolset

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def prometheus(platform: LivePlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus_of(tmp_path_factory.mktemp("prometheus"), [platform.url.removeprefix("http://")]) as made:
        yield made


async def work(scene: Scene, *, times: int, command: str) -> None:
    """Let a session make *times* calls of one command, and end its turn."""
    await scene.answers(*(calls(bash(command)) for _ in range(times)), says("done"))
    session = await scene.session(toolset())
    await scene.send(session, message("go"))
    await scene.idle(session)


async def test_the_rules_record_what_the_platform_does_and_nothing_fires(scene: Scene, prometheus: Prometheus) -> None:
    prometheus.until(lambda: prometheus.query('up{job="hecaton"} == 1'))
    ended = 'hecaton:turns:rate5m{outcome="ended"} > 0'
    for turn in range(20):
        await work(scene, times=1, command=f"echo {turn}")
        if prometheus.query(ended):
            break
    prometheus.until(lambda: prometheus.query(ended))
    assert prometheus.until(lambda: prometheus.query('hecaton:tool_calls:rate5m{hand="sandbox", outcome="ok"} > 0'))
    assert prometheus.until(lambda: prometheus.query("hand:hecaton_tool_call_duration_seconds:p95_5m > 0"))
    assert prometheus.until(lambda: prometheus.query("brain:hecaton_model_request_duration_seconds:p95_5m > 0"))
    assert prometheus.until(lambda: prometheus.query("route:hecaton_http_request_duration_seconds:p95_5m > 0"))
    assert prometheus.until(lambda: prometheus.query("hecaton:log_append_duration_seconds:p99_5m > 0"))
    assert prometheus.until(lambda: prometheus.query('slo:hecaton_error_ratio:rate5m{slo="turns"} == 0'))
    assert prometheus.until(lambda: prometheus.query("hecaton:mtbf_seconds:1d"))
    prometheus.until(lambda: all(rule["health"] == "ok" for rule in prometheus.rules()))
    assert [rule["name"] for rule in prometheus.rules() if rule.get("lastError")] == []
    assert prometheus.firing() == set()


async def test_a_session_that_goes_in_circles_is_found_and_fires_its_alert(
    scene: Scene, prometheus: Prometheus
) -> None:
    kinds = prometheus.until(lambda: prometheus.query("sum by (kind) (hecaton_anomalies_total)"))
    assert "loop" in kinds
    await work(scene, times=5, command="echo again")
    prometheus.until(lambda: "HecatonLoops" in prometheus.firing())
    assert prometheus.query('max(hecaton_anomalies_total{kind="loop"})')[""] == kinds["loop"] + 1
