"""Rubrics of outcomes that are files: their text is read when the outcome is defined, and is what the log has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from api_fakes import Server, refusal

from agents.ids import new_id

Json = dict[str, Any]


async def upload(server: Server, content: bytes) -> str:
    answer = await server.client.post("/v1/files", files={"file": ("rubric.md", content, "text/markdown")})
    return answer.json()["id"]


def outcome(file_id: str) -> Json:
    return {"type": "user.define_outcome", "description": "d", "rubric": {"type": "file", "file_id": file_id}}


async def test_an_outcome_has_the_text_of_its_rubric_a_number_of_iterations_and_an_id(server: Server) -> None:
    file_id = await upload(server, "It rhymes. \u2713".encode())
    path = f"/v1/sessions/{(await server.session())['id']}/events"
    assert (await server.client.post(path, json={"events": [outcome(file_id)]})).status_code == 200
    [sent] = server.host.sent[-1][1]
    assert sent["rubric"] == {"type": "text", "content": "It rhymes. \u2713"}
    assert sent["max_iterations"] == 3 and sent["outcome_id"].startswith("outc_")


async def test_a_session_may_begin_with_one(server: Server) -> None:
    agent, environment = await server.agent(), await server.environment()
    file_id = await upload(server, b"It rhymes.")
    body = {"agent": agent["id"], "environment_id": environment["id"], "initial_events": [outcome(file_id)]}
    made = await server.client.post("/v1/sessions", json=body)
    assert made.status_code == 200, made.text
    body["initial_events"] = [outcome("file_none")]
    told = refusal(await server.client.post("/v1/sessions", json=body), 400)
    assert told.startswith("initial_events[0].rubric.file_id")


@pytest.mark.parametrize("content", [b"\xff\xfe", b" \n", b"x" * 262_145, b"x" * 1_048_577])
async def test_a_file_that_is_no_rubric_is_refused_by_name(server: Server, content: bytes) -> None:
    file_id = await upload(server, content)
    path = f"/v1/sessions/{(await server.session())['id']}/events"
    told = refusal(await server.client.post(path, json={"events": [outcome(file_id)]}), 400)
    assert told.startswith("events[0].rubric.file_id")


async def test_a_rubric_may_be_an_output_of_the_session_and_of_no_other(server: Server) -> None:
    mine, other = [(await server.session())["id"] for _ in range(2)]
    records = server.platform.files.records
    uploaded = await records.get(await upload(server, b"It rhymes."))
    file = new_id("file")
    await records.insert(replace(uploaded, id=file, session_id=mine), most_bytes=10**6)
    sent = {"events": [outcome(file)]}
    assert (await server.client.post(f"/v1/sessions/{mine}/events", json=sent)).status_code == 200
    told = refusal(await server.client.post(f"/v1/sessions/{other}/events", json=sent), 400)
    assert told.startswith("events[0].rubric.file_id")


async def test_a_rubric_whose_bytes_are_gone_is_one_that_is_not_there(server: Server) -> None:
    file_id = await upload(server, b"It rhymes.")
    await server.platform.files.blobs.delete((await server.platform.files.records.get(file_id)).sha256)
    path = f"/v1/sessions/{(await server.session())['id']}/events"
    told = refusal(await server.client.post(path, json={"events": [outcome(file_id)]}), 400)
    assert told.startswith("events[0].rubric.file_id")
