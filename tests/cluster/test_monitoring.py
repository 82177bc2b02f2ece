"""A real Prometheus scrapes the platform with our rules (ours): they are sound, record, and fire when they should.

Bug class this catches: rules whose metrics are called otherwise on the live platform, or have other labels; alerts that
fire on a platform that is well; anomalies that never reach the alert.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import yaml

from agents.ports import free_port
from tests.conformance.platform import LivePlatform
from tests.conformance.scene import Scene, bash, calls, message, says, toolset

pytestmark = pytest.mark.timeout(240)

HOME = Path(__file__).parents[2] / "cluster" / "monitoring"
_PATIENCE = 90.0
_LOOK_SECONDS = 0.5

T = TypeVar("T")


class Prometheus:
    """A running server."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str, **query: str) -> Any:
        answer = self._client.get(path, params=query)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    def query(self, expression: str) -> dict[str, float]:
        """Return the values of an instant vector, by the values of their labels."""
        result = self.get("query", query=expression)["result"]
        return {
            " ".join(value for name, value in sorted(each["metric"].items()) if name != "__name__"): float(
                each["value"][1]
            )
            for each in result
        }

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def firing(self) -> set[str]:
        alerts = self.get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def until(self, what: Callable[[], T]) -> T:
        """Ask until there is something. Raises TimeoutError."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            if found := what():
                return found
            time.sleep(_LOOK_SECONDS)
        raise TimeoutError(f"Prometheus: {what()}")


@pytest.fixture(scope="module")
def prometheus(platform: LivePlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Our configuration and rules, over this platform and in a hurry."""
    home = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((HOME / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    [job] = [job for job in config["scrape_configs"] if job["job_name"] == "hecaton"]
    job["static_configs"] = [{"targets": [platform.url.removeprefix("http://")]}]
    (home / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (home / "rules").mkdir()
    for rules in (HOME / "rules").glob("*.yaml"):
        hurried = re.sub(r"interval: \w+", "interval: 1s", rules.read_text(encoding="utf-8"))
        (home / "rules" / rules.name).write_text(hurried, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={home}/prometheus.yml",
                f"--storage.tsdb.path={home}/data",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        url = _ready(address, process, home / "log")
        with httpx.Client(base_url=f"{url}/api/v1", timeout=10) as client:
            yield Prometheus(client)
    finally:
        process.terminate()
        process.wait(30)


def _ready(address: str, process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            if httpx.get(f"http://{address}/-/ready", timeout=5).is_success:
                return f"http://{address}"
        except httpx.TransportError:
            pass
        time.sleep(_LOOK_SECONDS)
    raise TimeoutError(log.read_text(encoding="utf-8"))


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
