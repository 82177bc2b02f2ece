"""``/metrics`` of a platform with two harnesses and two gateways (ours): the sums are those of the logs, and stay so.

Bug class this catches: figures of one process taken for the platform's, counters that fall with a process, events that
count twice or never, series that docs/metrics.md does not name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.instance import Instance
from tests.cluster.log_figures import Series, counts_of
from tests.conformance.platform import LivePlatform
from tests.conformance.scene import Json, Scene, bash, calls, message, says, toolset

_PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
_PATIENCE = 90.0
_LOOK_SECONDS = 0.5
_REPORT_SECONDS = 5.0
"""In this time each process has told what it had counted before: every two seconds, within two (metrics_reporter)."""
_COUNTED = ("_total", "_count", "_sum")


async def scrape(platform: LivePlatform) -> dict[Series, float]:
    """Read ``/metrics`` over a connection of its own, so that any replica may answer."""
    async with httpx.AsyncClient(timeout=20) as client:
        text = (await client.get(f"{platform.url}/metrics")).text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def settled(platform: LivePlatform) -> dict[Series, float]:
    """Return the figures once all that was done before is in them."""
    async with asyncio.timeout(_PATIENCE):
        before = await scrape(platform)
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            now = await scrape(platform)
            # Looking is counted, too.
            counted = [each for each in now if each[0].endswith(_COUNTED) and "/metrics" not in each]
            if all(now[each] == before.get(each) for each in counted):
                return now
            before = now


async def until(platform: LivePlatform, reached: Callable[[dict[Series, float]], bool]) -> dict[Series, float]:
    async with asyncio.timeout(_PATIENCE):
        while not reached(found := await scrape(platform)):
            await asyncio.sleep(_LOOK_SECONDS)
        return found


async def worked(scene: Scene) -> list[Json]:
    """Have a session use a tool twice, each time alike; returns its log."""
    await scene.answers(calls(bash("echo same")), calls(bash("echo same")), says("done"))
    session = await scene.session(toolset())
    return await scene.turn(session, message("go"))


async def test_the_sums_of_all_processes_are_those_of_the_logs(platform: LivePlatform, scene: Scene) -> None:
    before = await settled(platform)
    # Enough of them to be of both harnesses.
    logs = [await worked(scene) for _ in range(6)]
    expected = counts_of(logs)
    assert expected["hecaton_tool_calls_total", "sandbox", "ok"] == 12
    assert expected["hecaton_repeated_tool_calls_total",] == 6
    expected["hecaton_http_requests_total", "POST", "/v1/sessions", "200"] = len(logs)
    found = await until(
        platform, lambda now: all(now.get(each, 0) - before.get(each, 0) >= count for each, count in expected.items())
    )
    assert {each: found[each] - before.get(each, 0) for each in expected} == dict(expected)


async def test_any_replica_tells_the_same(platform: LivePlatform, scene: Scene) -> None:
    await worked(scene)
    now = await settled(platform)
    for _ in range(6):
        again = await scrape(platform)
        assert {each: again[each] for each in now if each[0] == "hecaton_turns_total"} == {
            each: now[each] for each in now if each[0] == "hecaton_turns_total"
        }
    leases = {each: value for each, value in now.items() if each[0] == "hecaton_leases"}
    assert set(leases) == {("hecaton_leases", "harness-0"), ("hecaton_leases", "harness-1")}
    assert sum(leases.values()) == 64
    assert now["hecaton_sessions", "idle"] > 0 and now["hecaton_stuck_sessions",] == 0


async def test_every_series_is_in_the_documentation(platform: LivePlatform) -> None:
    async with httpx.AsyncClient(timeout=20) as client:
        text = (await client.get(f"{platform.url}/metrics")).text
    page = _PAGE.read_text(encoding="utf-8")
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert sorted(name for name in names if f"| `{name}` |" not in page) == []


async def test_the_same_is_in_rays_charts(platform: LivePlatform, instance: Instance, scene: Scene) -> None:
    await worked(scene)
    wanted = {"ray_hecaton_turns_total", "ray_hecaton_turn_duration_seconds_count", "ray_hecaton_http_requests_total"}
    parts = {'part="harness"', 'part="gateway"', 'part="sandbox"'}

    def told(text: str) -> bool:
        return all(f"{name}{{" in text for name in wanted) and all(part in text for part in parts)

    async with asyncio.timeout(_PATIENCE), httpx.AsyncClient(timeout=5) as client:
        while not any(
            [told(text) for text in await asyncio.gather(*(read(client, port) for port in agents(instance)))]
        ):
            await asyncio.sleep(_LOOK_SECONDS)


def agents(instance: Instance) -> set[int]:
    """Ports on which Ray's agents listen; one of them has the metrics of its node."""
    listening = [each for agent in instance.running("DashboardAgent") for each in agent.net_connections("tcp")]
    return {each.laddr.port for each in listening if each.status == psutil.CONN_LISTEN}


async def read(client: httpx.AsyncClient, port: int) -> str:
    try:
        return (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    except httpx.HTTPError:
        return ""  # another of its services


async def test_counters_do_not_fall_when_parts_are_killed(
    platform: LivePlatform, instance: Instance, scene: Scene
) -> None:
    await worked(scene)
    before = await settled(platform)
    counted = {each: value for each, value in before.items() if each[0].endswith(("_total", "_count", "_bucket"))}
    assert any(counted.values())
    victim = instance.running("ray::HarnessActor")[0]
    victim.kill()
    await until(platform, lambda now: now["hecaton_takeovers_total",] > before["hecaton_takeovers_total",])
    await worked(scene)
    turns = "hecaton_turns_total", "ended"
    found = await until(platform, lambda now: now[turns] > before[turns])
    assert found[turns] == before[turns] + 1
    [fleet] = instance.running("ray::FleetActor")
    fleet.kill()
    await worked(scene)
    found = await until(platform, lambda now: now[turns] > before[turns] + 1)
    assert found[turns] == before[turns] + 2
    fallen = {each: (value, found.get(each)) for each, value in counted.items() if found.get(each, 0) < value}
    assert fallen == {}
