"""A real Prometheus with our configuration and rules, in a hurry, and how it is asked."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from agents.ports import free_port

HOME = Path(__file__).parents[2] / "cluster" / "monitoring"
PATIENCE = 90.0
_LOOK_SECONDS = 0.5
_RAY_INTERVAL = "5s"
"""Ray's nodes tell ten thousands of samples, and anew every ten seconds."""

T = TypeVar("T")


class Prometheus:
    """A running server."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str, **query: str) -> Any:
        answer = self._client.get(path, params=query)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    def vector(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return an instant vector: labels and values."""
        result = self.get("query", query=expression)["result"]
        return [(each["metric"], float(each["value"][1])) for each in result]

    def query(self, expression: str) -> dict[str, float]:
        """Return the values of an instant vector, by the values of their labels."""
        return {
            " ".join(value for name, value in sorted(labels.items()) if name != "__name__"): number
            for labels, number in self.vector(expression)
        }

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def firing(self) -> set[str]:
        alerts = self.get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def until(self, what: Callable[[], T | None]) -> T:
        """Ask until there is something. Raises TimeoutError."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := what():
                return found
            time.sleep(_LOOK_SECONDS)
        raise TimeoutError(f"Prometheus: {what()}")


@contextmanager
def prometheus_of(home: Path, targets: Sequence[str], *, ray: Path | None = None) -> Iterator[Prometheus]:
    """Run one in *home*, over *targets* (``HOST:PORT``) and the nodes that Ray's file of them (*ray*) names."""
    config = yaml.safe_load((HOME / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    jobs["hecaton"]["static_configs"] = [{"targets": list(targets)}]
    jobs["ray"] |= {"scrape_interval": _RAY_INTERVAL, "scrape_timeout": _RAY_INTERVAL}
    if ray is not None:
        jobs["ray"]["file_sd_configs"] = [{"files": [str(ray)], "refresh_interval": "1s"}]
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
        with httpx.Client(base_url=f"{url}/api/v1", timeout=30) as client:
            yield Prometheus(client)
    finally:
        process.terminate()
        process.wait(30)


def _ready(address: str, process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            if httpx.get(f"http://{address}/-/ready", timeout=5).is_success:
                return f"http://{address}"
        except httpx.TransportError:
            pass
        time.sleep(_LOOK_SECONDS)
    raise TimeoutError(log.read_text(encoding="utf-8"))
