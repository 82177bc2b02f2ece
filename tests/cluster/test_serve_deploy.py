"""``serve deploy serve_configs/local.yaml`` brings up the same platform on a Ray cluster that is already there."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from anthropic import Anthropic

from agents.ports import free_ports
from tests.cluster.ray_head import BIN, ROOT, ray_head

_READY_SECONDS = 150


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[str]:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    port, metrics, stats, fallback = free_ports(4)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("RAY_")},
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_AUTH_MODE": "disabled",
        "RAY_raylet_start_wait_time_s": "90",
        "HECATON_BRAIN__REPLAY_PACE": "0",
    }
    settings = tmp_path / "settings.yaml"
    settings.write_text(json.dumps({"data_dir": str(data_dir)}))
    config = yaml.safe_load((ROOT / "serve_configs" / "local.yaml").read_text())
    config["http_options"]["port"] = port
    for application in config["applications"]:
        application["args"] = {"settings": str(settings)}
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(config))
    with ray_head(environment, cpus=4) as head:
        deploy = [str(BIN / "serve"), "deploy", "--address", head.dashboard, str(tmp_path / "local.yaml")]
        subprocess.run(deploy, env=environment, check=True, timeout=60, cwd=ROOT, stdout=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url)
        yield url


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/-/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError("the deployed platform did not become ready")


@pytest.mark.timeout(300)
def test_the_deployed_platform_serves_a_turn_with_a_tool(deployed: str) -> None:
    client = Anthropic(base_url=deployed, api_key="any")
    environment = client.beta.environments.create(name="deployed", config={"type": "cloud"})
    agent = client.beta.agents.create(
        name="deployed", model="claude-sonnet-5-5", tools=[{"type": "agent_toolset_20260401"}]
    )
    session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
    seen: list[str] = []
    with client.beta.sessions.events.stream(session.id) as stream:
        words = {"type": "user.message", "content": [{"type": "text", "text": "Where are you?"}]}
        client.beta.sessions.events.send(session.id, events=[words])
        for event in stream:
            seen.append(event.type)
            if event.type == "session.status_idle":
                break
    assert "agent.tool_result" in seen and event.stop_reason.type == "end_turn"
