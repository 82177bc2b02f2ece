"""The demonstration's plan works on any folder: real sandbox, real tools, real figures (ours).

Bug class this catches: a plan that only fits the folder it was written on.
"""

from __future__ import annotations

import asyncio
import json
import os
import xml.dom.minidom
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agents.brains.plan import PlanBook
from agents.brains.port import BrainRequest
from agents.brains.replay import NOTICE, ReplayBrain
from agents.commands.demo import PROMPT
from agents.config import SandboxSettings
from agents.hands.host import SandboxHost
from agents.hands.port import ToolCall, Workspace
from tests.open_directory import open_directory

SESSION = "sesn_demo"


@dataclass
class Played:
    """What a played plan said, called and left behind."""

    root: Path
    texts: list[str] = field(default_factory=list)
    calls: list[list[dict[str, Any]]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def outputs(self) -> Path:
        return self.root / SESSION / "outputs"

    @property
    def report(self) -> str:
        return (self.outputs / "report.md").read_text(encoding="utf-8")


async def play(folder: Path, sandboxes: Path, *, deny: bool = False) -> Played:
    """Play the plan as a session would, with *folder* in the workspace."""
    host = SandboxHost(SandboxSettings(seed_dir=folder, warm=0), sandboxes)
    await host.start()
    try:
        async with asyncio.timeout(60):
            return await _converse(host, Played(host.root), deny)
    finally:
        await host.stop()


async def _converse(host: SandboxHost, played: Played, deny: bool) -> Played:
    brain = ReplayBrain(PlanBook.load(), pace=0)
    messages: list[dict[str, Any]] = [{"role": "user", "content": PROMPT.format(name="any")}]
    while True:
        blocks = await _answer(brain, messages)
        messages.append({"role": "assistant", "content": blocks})
        played.texts += [block["text"] for block in blocks if block["type"] == "text"]
        uses = [block for block in blocks if block["type"] == "tool_use"]
        if not uses:
            return played
        played.calls.append(uses)
        results = {}
        allowed = [use for use in uses if not (deny and use["name"] == "edit")]
        calls = [ToolCall(use["id"], use["name"], use["input"]) for use in allowed]
        async for result in host.execute(Workspace(SESSION), calls):
            results[result.call_id] = {"content": result.content, "is_error": result.is_error}
        denied = {"content": "The user denied this call.", "is_error": True}
        played.failed += [use["name"] for use in uses if results.get(use["id"], denied)["is_error"]]
        answers = [{"type": "tool_result", "tool_use_id": use["id"], **results.get(use["id"], denied)} for use in uses]
        messages.append({"role": "user", "content": answers})


async def _answer(brain: ReplayBrain, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    async for event in brain.think(BrainRequest(session_id=SESSION, model="m", messages=messages)):
        if event["type"] == "content_block_start":
            blocks.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta" and "text" in event["delta"]:
            blocks[-1]["text"] += event["delta"]["text"]
        elif event["type"] == "content_block_delta":
            blocks[-1]["input"] = json.loads(event["delta"]["partial_json"])
    return blocks


@pytest.fixture
def sandboxes() -> Iterator[Path]:
    with open_directory("demo-") as base:
        yield base


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


def well_formed(played: Played) -> bool:
    chart = xml.dom.minidom.parse(str(played.outputs / "chart.svg"))
    return chart.documentElement is not None and chart.documentElement.tagName == "svg"


async def test_an_ordinary_folder_is_measured_rightly(folder: Path, sandboxes: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "a.py").write_text("# comment\nx = 1\n\ny = 2\n")
    (folder / "notes.md").write_text("# Title\n\ntext")
    (folder / "data.bin").write_bytes(b"\x00\x01\x02")
    played = await play(folder, sandboxes)
    assert "3 files (1 of them binary), 39 bytes, 7 lines of text." in played.report
    assert "| Python | 1 | 2 | 1 | 1 |" in played.report
    assert "| Markdown | 1 | 2 | 0 | 1 |" in played.report
    assert "- `src/a.py`: 23 bytes" in played.report
    assert well_formed(played)
    assert played.texts[0].startswith(NOTICE)


async def test_the_program_really_fails_first_and_only_the_edit_mends_it(folder: Path, sandboxes: Path) -> None:
    (folder / "a.txt").write_text("one\n")
    played = await play(folder, sandboxes)
    assert played.failed == ["bash"]
    assert "Its first version did not" in played.report
    assert any("counts 2 files, find and wc counted 1" in text for text in played.texts)


async def test_the_steps_are_those_that_the_demonstration_promises(folder: Path, sandboxes: Path) -> None:
    played = await play(folder, sandboxes)
    names = [[use["name"] for use in uses] for uses in played.calls]
    assert sorted(names[1]) == ["bash", "glob", "grep"], "parallel calls in one answer"
    flat = [name for step in names for name in step]
    assert flat.count("edit") == 1, "the edit is what asks for permission: exactly once"
    assert {"bash", "read", "write", "edit", "glob", "grep"} == set(flat)


async def test_an_empty_folder_gives_an_honest_report(folder: Path, sandboxes: Path) -> None:
    played = await play(folder, sandboxes)
    assert "0 files" in played.report
    assert "There is no text file here." in played.report
    assert well_formed(played)


async def test_odd_names_and_bytes_do_not_derail_it(folder: Path, sandboxes: Path) -> None:
    for name in (b"bad\xff.txt", b"new\nline", b"files=9", b"-rf", b"a|b`c {{ x }}.py", b"$(id).md", b"README\xff.md"):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(b'\xff\xfe{"ok": 1} {% raw %}')
    (folder / "measure.py").write_text("mine")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to("nowhere")
    played = await play(folder, sandboxes)
    assert "8 files" in played.report
    assert "totals agree" in " ".join(played.report.split())
    assert (played.root / SESSION / "workspace" / "measure.py").read_text() == "mine"
    assert well_formed(played)


async def test_a_denied_edit_is_respected_and_reported(folder: Path, sandboxes: Path) -> None:
    (folder / "a.txt").write_text("one\n")
    played = await play(folder, sandboxes, deny=True)
    assert "totals are NOT right" in played.report
    assert "not allowed" in played.texts[-1]
    assert "abspath" not in (played.root / SESSION / "workspace" / "measure.py").read_text()
