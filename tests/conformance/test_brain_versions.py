"""Versions of one brain that change while sessions are at work (docs/brains.md).

Bug class this catches: a request that fails, or a session that changes its version, because an operator changed one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence

import pytest
from anthropic import AsyncAnthropic

from tests.conformance.platform import LivePlatform, in_process
from tests.conformance.requirements import requirement
from tests.conformance.scene import Json, Scene, message, of_type

# Both are the stub; nothing listens where the third version looks for its model.
BRAINS: dict[str, Json] = {
    "pair": {
        "engine": "claude",
        "model": "model-1",
        "versions": {"2": {"model": "model-2"}, "3": {"model": "model-3", "base_url": "http://127.0.0.1:9"}},
        "rollback": {"min_requests": 4, "max_error_rate": 0.5},
    },
}
WAVE = 4
SAYS = message('stub: text="ok"')


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    with in_process(tmp_path_factory.mktemp("versions"), brains=BRAINS) as made:
        yield made


@pytest.fixture
async def environment_id(aclient: AsyncAnthropic) -> str:
    return (await aclient.beta.environments.create(name=f"versions-{secrets.token_hex(4)}")).id


async def sessions(scene: Scene) -> list[str]:
    """A wave of new sessions."""
    agent = await scene.agent(model="pair")
    return list(await asyncio.gather(*(scene.session(agent=agent) for _ in range(WAVE))))


async def turns(scene: Scene, wave: Sequence[str]) -> list[Json]:
    """One turn of each session, all at once; returns what their logs say of the brains."""
    logs = await asyncio.gather(*(scene.turn(session, SAYS) for session in wave))
    assert [of_type(log, "session.error") for log in logs] == [[]] * len(wave)
    return [of_type(log, "span.model_request_end")[-1]["brain"] for log in logs]


async def change(scene: Scene, action: str, **body: object) -> None:
    answer = await scene.http.post(f"/-/brains/pair/{action}", json=body)
    assert answer.status_code == 200, answer.text


@requirement("brains:versions", "brains:rollback")
async def test_sessions_at_work_notice_nothing_of_a_release_and_move_once_when_it_is_withdrawn(scene: Scene) -> None:
    first = await sessions(scene)
    one, two = {"id": "pair@1", "requested": "pair"}, {"id": "pair@2", "requested": "pair"}
    assert await turns(scene, first) == [one] * WAVE
    told, _ = await asyncio.gather(turns(scene, first), change(scene, "release", version="2", weight=50))
    assert told == [one] * WAVE
    second = await sessions(scene)
    dealt = await turns(scene, second)
    assert [each for each in dealt if each not in (one, two)] == []
    told, _ = await asyncio.gather(turns(scene, first + second), change(scene, "promote", version="2"))
    assert told == [one] * WAVE + dealt
    third = await sessions(scene)
    assert await turns(scene, first + second + third) == [one] * WAVE + dealt + [two] * WAVE

    await change(scene, "rollback", reason="it is rude")
    moved = one | {"moved_from": {"id": "pair@2", "reason": "it is rude"}}
    after = [one] * WAVE + [moved if each == two else one for each in dealt] + [moved] * WAVE
    assert await turns(scene, first + second + third) == after
    assert await turns(scene, third) == [one] * WAVE


@requirement("brains:rollback")
async def test_a_version_that_fails_is_taken_back_by_itself_and_no_session_fails(scene: Scene) -> None:
    await change(scene, "release", version="3", weight=100)
    wave = await sessions(scene)
    told = await turns(scene, wave)
    assert {each["id"] for each in told} == {"pair@1"}
    assert {each["passed_over"][0]["id"] for each in told} == {"pair@3"}
    async with asyncio.timeout(30):
        while (third := await state(scene))["state"] == "trial":
            await asyncio.sleep(0.05)
    assert (third["state"], third["weight"]) == ("withdrawn", 0)
    assert third["reason"].endswith("requests failed, and 50% may")
    moved = {"moved_from": {"id": "pair@3", "reason": third["reason"]}}
    assert await turns(scene, wave) == [{"id": "pair@1", "requested": "pair", **moved}] * WAVE


async def state(scene: Scene) -> Json:
    """The third version, as the server tells of it."""
    [pair] = (await scene.get("/-/brains"))["data"]
    return pair["versions"][2]
