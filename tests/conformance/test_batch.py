"""``hecaton batch`` against a live server, as its user runs it: killed in mid-batch, and given again (ours).

Bug class this catches: rows lost or doubled by a crash, sessions made or asked twice, money that is rounded away.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from anthropic import AsyncAnthropic

from tests.cluster.instance import plain_environment
from tests.conformance.requirements import requirement
from tests.conformance.scene import Scene, of_type, says, text_of

ROWS = 18
_DONE, _AT_A_TIME = 6, 4
_SECONDS = 60.0


def tasks_of(agent: str, environment: str) -> list[dict[str, Any]]:
    whose = {"agent": agent, "environment": environment}
    return [{"id": f"row-{number}", "prompt": f"task {number}", **whose} for number in range(ROWS)]


async def started(scene: Scene, folder: Path, *more: str) -> asyncio.subprocess.Process:
    where = ["--url", scene.platform.url, "--api-key", scene.platform.key, "--data-dir", str(folder)]
    command = ["batch", str(folder / "tasks.jsonl"), "--out", str(folder / "results.parquet"), *where, *more]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "agents.cli", *command, "--json", f"--concurrency={_AT_A_TIME}"),
        env=plain_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def sessions_of(client: AsyncAnthropic, agent: str) -> dict[str, str]:
    """The agent's sessions, each with the line of the batch that it was made for."""
    found = client.beta.sessions.list(agent_id=agent, limit=100)
    return {session.id: session.metadata["batch_row"] async for session in found}


@requirement("platform:batch")
async def test_a_batch_that_is_killed_goes_on_and_no_row_is_lost_or_doubled(scene: Scene, tmp_path: Path) -> None:
    agent = await scene.agent()
    unknown = {"id": "nobody", "prompt": "hello", "agent": "agent_unknown", "environment": scene.environment_id}
    lines = [*map(json.dumps, [*tasks_of(agent, scene.environment_id), unknown]), '{"id": "typo", "promt": "x"}']
    (tmp_path / "tasks.jsonl").write_text("\n".join(lines))
    held = says([scene.gate("hold"), "done"])
    await scene.answers(*[says("done")] * _DONE, *[held] * (ROWS - _DONE))

    killed = await started(scene, tmp_path)
    async with asyncio.timeout(_SECONDS):
        await asyncio.to_thread(scene.platform.stub.seen, _DONE + _AT_A_TIME, match=scene.mark, timeout=_SECONDS)
        killed.kill()
        await killed.wait()
    under_way = await sessions_of(scene.client, agent)
    assert len(under_way) == _DONE + _AT_A_TIME
    assert not (tmp_path / "results.parquet").exists()

    await scene.release("hold")
    again = await started(scene, tmp_path)
    async with asyncio.timeout(_SECONDS):
        said, told = await again.communicate()
    summary = json.loads(said)
    assert again.returncode == 1, "two rows are errors"
    assert (summary["ok"], summary["errors"], summary["invalid"], summary["rows"]) == (ROWS, 1, 1, ROWS + 2)
    assert b"rows have their results from before" in told and b"line 20: promt" in told
    rows = pq.read_table(tmp_path / "results.parquet").to_pylist()
    assert [row["line"] for row in rows] == list(range(1, ROWS + 3))
    assert [row["outcome"] for row in rows] == ["ok"] * ROWS + ["error", "invalid"]
    assert rows[ROWS]["error_type"] == "not_found_error"
    made = await sessions_of(scene.client, agent)
    assert made == {row["session"]: str(row["line"]) for row in rows[:ROWS]}
    assert under_way.items() <= made.items(), "what was under way is gone on with"
    for row in rows[:ROWS]:
        heard = of_type(await scene.log(row["session"]), "user.message")
        assert [text_of(event) for event in heard] == [f"task {row['line'] - 1}"]
        assert (row["answer"], row["attempts"], row["model_requests"]) == ("done", 1, 1)


@requirement("platform:batch:cost")
async def test_a_sessions_answer_tells_what_it_cost_before_it_is_rounded(scene: Scene) -> None:
    await scene.answers(says("done"))
    session = await scene.session()
    await scene.turn(session)
    answer = await scene.http.get(f"/v1/sessions/{session}")
    usage = answer.json()["usage"]
    exact = int(answer.headers["hecaton-list-cost-micro-usd"])
    assert exact > 0 and usage["input_tokens"] > 0
    assert round(exact / 10_000) == int(usage["list_cost"]["amount"])
