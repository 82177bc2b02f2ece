"""The floor: one asyncio process that does a turn's work with nothing around it.

It asks the same stub over streaming HTTP with the same engine, runs the same tools with the same
sandbox driver and keeps each conversation in a list. There is no HTTP server, no log, no Ray: what the
platform takes beyond this is the price of being a platform.

``python -m benchmarks.floor --stub URL`` reads one JSON request a line and answers with one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from agents.brains.assembly import AnswerAssembler
from agents.brains.claude import ClaudeBrain
from agents.brains.port import BrainRequest
from agents.config import Settings
from agents.hands.host import SandboxHost
from agents.hands.port import ToolCall, Workspace
from agents.hands.toolset import tool_definitions
from agents.sessions.permissions import SANDBOX_TOOLS
from agents.settings_loading import load_settings
from agents.vault import SettingsVault

MODEL = "claude-opus-4-6"
ENVIRONMENT = {"type": "cloud", "networking": {"type": "unrestricted"}}
"""What an environment created with ``{"type": "cloud"}`` becomes."""


class BareLoop:
    """An agent loop in a page."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._brain = ClaudeBrain(settings.brain, SettingsVault(settings))
        self._host = SandboxHost(settings.sandbox, folder)
        self._tools = tool_definitions(SANDBOX_TOOLS)
        self._conversations: dict[str, list[dict[str, Any]]] = {}
        self._names = (f"floor{number}" for number in itertools.count())

    async def start(self) -> None:
        await self._host.start()

    async def stop(self) -> None:
        await self._brain.aclose()
        await self._host.stop()

    def new_session(self) -> str:
        name = next(self._names)
        self._conversations[name] = []
        return name

    async def turn(self, session: str, text: str) -> float:
        """Run one turn to its end; returns the seconds it took."""
        started = time.perf_counter()
        messages = self._conversations[session]
        messages.append({"role": "user", "content": [{"type": "text", "text": text}]})
        while True:
            assembler = AnswerAssembler()
            request = BrainRequest(session, MODEL, messages, tools=self._tools)
            async for event in self._brain.think(request):
                assembler.feed(event)
            answer = assembler.finish()
            messages.append({"role": "assistant", "content": [block.raw for block in answer.blocks]})
            calls = [
                ToolCall(block.tool_use_id, block.name, block.input or {})
                for block in answer.blocks
                if block.kind == "tool_use"
            ]
            if not calls:
                return time.perf_counter() - started
            messages.append({"role": "user", "content": await self._run(session, calls)})

    async def _run(self, session: str, calls: list[ToolCall]) -> list[dict[str, Any]]:
        results: dict[str, dict[str, Any]] = {}
        async for result in self._host.execute(Workspace(session, ENVIRONMENT), calls):
            block = {"type": "tool_result", "tool_use_id": result.call_id, "content": result.content}
            results[result.call_id] = block | ({"is_error": True} if result.is_error else {})
        return [results[call.call_id] for call in calls]

    async def repeat(self, text: str, turns: int) -> list[float]:
        """Run a warm-up turn and then *turns* more in one session."""
        session = self.new_session()
        await self.turn(session, text)
        return [await self.turn(session, text) for _ in range(turns)]

    async def fresh(self, text: str, sessions: int, concurrency: int) -> list[float]:
        """Run one turn in each of *sessions* new sessions."""
        left = sessions
        seconds: list[float] = []

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                seconds.append(await self.turn(self.new_session(), text))

        await asyncio.gather(*(work() for _ in range(concurrency)))
        return seconds


async def serve(stub: str) -> None:
    """Answer requests from standard input until it ends."""
    os.environ.setdefault("ANTHROPIC_API_KEY", "x")
    settings = load_settings(overrides={"brain.base_url": stub})
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory(prefix="hecaton-floor-") as folder:
        Path(folder).chmod(0o755)  # sandboxes have users of their own, who must pass through
        bare = BareLoop(settings, Path(folder) / "sandboxes")
        await bare.start()
        print(json.dumps({"ready": True}), flush=True)
        try:
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                asked = json.loads(line)
                started = time.perf_counter()
                seconds = await getattr(bare, asked.pop("do"))(**asked)
                print(json.dumps({"seconds": seconds, "elapsed": time.perf_counter() - started}), flush=True)
        finally:
            await bare.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("--stub", required=True, help="address of the stub model")
    uvloop.run(serve(parser.parse_args().stub))


if __name__ == "__main__":
    main()
