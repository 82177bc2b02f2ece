"""The versions of brains over HTTP: what there is, and changing which gets the sessions.

Bug class this catches: a change that is answered as done and is not, or is done without a key.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
from api_fakes import Server

from agents.brains.release_records import Outcome, OutcomeRow
from agents.config import Settings

BRAINS: dict[str, Any] = {
    "qwen": {
        "engine": "replay",
        "model": "org/qwen-1",
        "aliases": ["gpt-"],
        "versions": {"2": {"model": "org/qwen-2"}, "3": {"model": None}},
    },
    "spare": {"engine": "replay"},
}


@pytest.fixture
def server() -> Server:
    return Server(Settings(brains=BRAINS))


def version(number: str, state: str, weight: int, **more: Any) -> dict[str, Any]:
    model = None if number == "3" else f"org/qwen-{number}"
    counted = {"requests": None, "failed": None, "slow": None}
    whole = {"id": f"qwen@{number}", "version": number, "engine": "replay", "model": model, "state": state}
    return {**whole, "weight": weight, "reason": None, **counted, **more}


async def change(server: Server, action: str, **body: Any) -> dict[str, Any]:
    answer = await server.client.post(f"/-/brains/qwen/{action}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_version_goes_from_release_to_promotion_and_back(server: Server) -> None:
    brain = {"name": "qwen", "aliases": ["gpt-"], "current": "1", "previous": None}
    idle = version("3", "idle", 0)
    listed = (await server.client.get("/-/brains")).json()["data"]
    first = [version("1", "current", 100), version("2", "idle", 0), idle]
    assert (listed[0], [each["name"] for each in listed]) == ({**brain, "versions": first}, ["qwen", "spare"])

    none = {"requests": 0, "failed": 0, "slow": 0}
    trial = [version("1", "current", 90), version("2", "trial", 10, **none), idle]
    assert await change(server, "release", version="2", weight=10) == {**brain, "versions": trial}
    promoted = [version("1", "idle", 0), version("2", "current", 100, **none), idle]
    assert await change(server, "promote", version="2") == {
        **brain,
        "current": "2",
        "previous": "1",
        "versions": promoted,
    }
    back = [version("1", "current", 100), version("2", "withdrawn", 0, reason="it is rude"), idle]
    assert await change(server, "rollback", reason="it is rude") == {**brain, "versions": back}
    assert (await server.client.get("/-/brains")).json()["data"][0] == {**brain, "versions": back}


async def test_how_a_trial_goes_is_shown(server: Server) -> None:
    await change(server, "release", version="2", weight=10)
    now = int(server.platform.clock.now().timestamp())
    rows = [OutcomeRow("qwen@2", now, Outcome(7, 2, 1)), OutcomeRow("qwen@2", now - 3000, Outcome(50))]
    await server.store.releases.add_outcomes(rows, forget_before=0)
    shown = (await server.client.get("/-/brains")).json()["data"][0]["versions"][1]
    assert (shown["requests"], shown["failed"], shown["slow"]) == (7, 2, 1)


async def test_a_change_is_logged_with_who_made_it(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await change(server, "release", version="2", weight=10)
        await change(server, "rollback")
    assert [record.message for record in caplog.records] == [
        "brain qwen: 2 gets 10 percent of the new sessions (by key '')",
        "brain qwen: the version on trial is withdrawn: rolled back by command (by key '')",
    ]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("gpt/promote", {"version": "2"}, 404, "there is no brain 'gpt'; there are qwen, spare"),
        ("qwen/promote", {"version": "9"}, 404, "brain qwen has no version '9'; there are 1, 2, 3"),
        ("qwen/promote", {}, 400, "version: required, but missing"),
        ("qwen/promote", {"version": 2}, 400, "version: must be a string"),
        ("qwen/release", {"version": "2", "weight": 101}, 400, "weight: must be from 0 to 100 percent, not 101"),
        ("qwen/release", {"version": "1", "weight": 10}, 400, "'1' is the current one"),
        ("qwen/release", {"version": "2", "weight": 1, "by": "me"}, 400, "by: unknown field"),
        ("qwen/rollback", {}, 400, "there is none before it"),
        ("qwen/rollback", {"version": "2", "reason": ""}, 400, "reason: "),
    ],
)
async def test_what_cannot_be_done_is_refused(
    server: Server, path: str, body: dict[str, Any], status: int, words: str
) -> None:
    refused = await server.client.post(f"/-/brains/{path}", json=body)
    assert (refused.status_code, words in refused.json()["error"]["message"]) == (status, True), refused.text
    assert await server.store.releases.splits() == {}


async def test_only_who_has_a_key_may_look_or_change() -> None:
    server = Server(Settings(brains=BRAINS, api_key="secret"))  # type: ignore[arg-type]
    assert (await server.client.get("/-/brains")).status_code == 401
    assert (await server.client.post("/-/brains/qwen/promote", json={"version": "2"})).status_code == 401
    assert await server.store.releases.splits() == {}
    allowed = await server.client.get("/-/brains", headers={"x-api-key": "secret"})
    assert allowed.status_code == 200


async def test_models_tell_brains_versions_and_which_names_lead_to_them(server: Server) -> None:
    await change(server, "release", version="2", weight=25)
    listed = (await server.client.get("/v1/models")).json()["data"]
    names = ["qwen", "gpt-"]
    assert {each["id"]: each["brain"] for each in listed} == {
        "qwen@1": {"name": "qwen", "version": "1", "aliases": names, "weight": 75},
        "qwen@2": {"name": "qwen", "version": "2", "aliases": [], "weight": 25},
        "qwen@3": {"name": "qwen", "version": "3", "aliases": [], "weight": 0},
        "spare@1": {"name": "spare", "version": "1", "aliases": ["spare"], "weight": 100},
    }
    await change(server, "promote", version="2")
    for name, brain in {"gpt-5": "qwen@2", "qwen": "qwen@2", "qwen@1": "qwen@1"}.items():
        assert (await server.client.get(f"/v1/models/{name}")).json()["id"] == brain


async def test_tokens_are_counted_and_bounds_kept_by_the_current_version() -> None:
    small = {"engine": "replay", "versions": {"2": {"capabilities": {"max_output_tokens": 7}}}}
    server = Server(Settings(brains={"qwen": small}))  # type: ignore[arg-type]
    body = {"model": "qwen", "messages": [{"role": "user", "content": "hi"}]}
    await change(server, "promote", version="2")
    counted = await server.client.post("/v1/messages/count_tokens", json=body)
    assert counted.headers["x-hecaton-brain"] == "qwen@2"
    counted = await server.client.post("/v1/messages/count_tokens", json=body | {"model": "auto"})
    assert counted.headers["x-hecaton-brain"] == "qwen@2"
    refused = await server.client.post("/v1/messages", json=body | {"max_tokens": 8})
    assert "qwen@2 writes at most 7 tokens" in refused.json()["error"]["message"]
