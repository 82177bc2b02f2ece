"""Claim: versions of a brain change under load, and no request fails and no session changes its version.

Sessions work without a pause, and new ones begin all the time, while an operator puts version 2 on trial, promotes it,
rolls the whole platform to settings with a version 3, puts that on trial (its model server cannot be reached, so it is
taken back by itself), and withdraws version 2. Falsified by one session error, one request that fails for a client
that repeats it as the SDK does, or one session that changes its version without the log saying why.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from anthropic import AsyncAnthropic
from rich.console import Console
from rich.table import Table

from benchmarks.deployment import ROOT, Deployment, running_platform, running_stub
from benchmarks.report import verdict
from benchmarks.samples import quantile

_TURNS = 6
"""Of each session: enough that some are at work across a change."""
_WORDS = 'stub: text="ok" delay=0.05'
_TURN_SECONDS = 120.0
_LOOK_SECONDS = 0.1
_JUDGED_SECONDS = 120.0
_PAIR: dict[str, Any] = {
    "engine": "claude",
    "model": "model-1",
    "versions": {"2": {"model": "model-2"}},
    "rollback": {"min_requests": 20, "max_error_rate": 0.5},
}
_GONE = {"model": "model-3", "base_url": "http://127.0.0.1:9"}


@dataclass(slots=True)
class Seen:
    """What the sessions went through."""

    turns: list[tuple[str, float, str]] = field(default_factory=lambda: [])
    """Phase, seconds and brain of each turn."""
    sessions: int = 0
    moves: Counter[str] = field(default_factory=Counter[str])
    """Sessions that changed their version, by the version and the reason that the log gives."""
    faults: list[str] = field(default_factory=lambda: [])


class Load:
    """Sessions at work, and the phase in which they are."""

    def __init__(self, url: str) -> None:
        self.client = AsyncAnthropic(base_url=url, api_key="k", timeout=_TURN_SECONDS)
        self.phase = "before"
        self.seen = Seen()
        self.over = False

    async def work(self, agent: str, environment: str) -> None:
        """Run one session after another until it is over."""
        while not self.over:
            try:
                session = (await self.client.beta.sessions.create(agent=agent, environment_id=environment)).id
            except Exception as error:
                self.seen.faults.append(f"{self.phase}: no session: {error!r}")
                continue
            self.seen.sessions += 1
            had: str | None = None
            for number in range(1, _TURNS + 1):
                had = await self._turn(session, number, had)
                if had is None:
                    break

    async def _turn(self, session: str, number: int, had: str | None) -> str | None:
        """Run one turn; returns the version that the session has now, None when it cannot go on."""
        phase, started = self.phase, time.perf_counter()
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                log = await self._log(session, number)
        except Exception as error:
            self.seen.faults.append(f"{phase}: {session}: {error!r}")
            return None
        self.seen.faults += [f"{phase}: {session}: {each['error']}" for each in log if each["type"] == "session.error"]
        brain = [each for each in log if each["type"] == "span.model_request_end"][-1]["brain"]
        self.seen.turns.append((phase, time.perf_counter() - started, brain["id"]))
        meant = next((each["id"] for each in brain.get("passed_over", [])), brain["id"])
        moved = brain.get("moved_from")
        if moved is not None:
            self.seen.moves[f"{moved['id']}: {moved['reason']}"] += 1
        if had not in (None, meant) and (moved is None or moved["id"] != had):
            self.seen.faults.append(f"{phase}: {session} went from {had} to {meant} without a reason")
        return meant

    async def _log(self, session: str, number: int) -> list[dict[str, Any]]:
        """Say something, wait for the end of turn *number*, and return the whole log."""
        words: Any = {"type": "user.message", "content": [{"type": "text", "text": _WORDS}]}
        await self.client.beta.sessions.events.send(session, events=[words])
        while True:
            page = await self.client.beta.sessions.events.list(session, limit=1000)
            log = [event.to_dict(mode="json") for event in page.data]
            if sum(each["type"] == "session.status_idle" for each in log) == number:
                return log
            await asyncio.sleep(_LOOK_SECONDS)


def _settings(folder: Path, versions: dict[str, Any]) -> Path:
    file = folder / f"{len(versions)}.yaml"
    file.write_text(yaml.safe_dump({"brains": {"pair": {**_PAIR, "versions": versions}}, "harness": {"actors": 2}}))
    return file


async def _hecaton(platform: Deployment, *arguments: str) -> float:
    """Run a command against the platform; returns how long it took, in seconds."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "agents.cli", *arguments, "--data-dir", str(platform.data_dir)]
    environment = {name: value for name, value in os.environ.items() if name != "HECATON_CONFIG"}
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"hecaton {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


async def _judged(url: str) -> float:
    """Wait until version 3 is taken back; returns how long that took, in seconds."""
    started = time.perf_counter()
    async with httpx.AsyncClient(base_url=url) as http, asyncio.timeout(_JUDGED_SECONDS):
        while True:
            [pair] = (await http.get("/-/brains")).json()["data"]
            if pair["versions"][2]["state"] == "withdrawn":
                return time.perf_counter() - started
            await asyncio.sleep(0.2)


async def measure(platform: Deployment, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    load = Load(platform.url)
    agent = (await load.client.beta.agents.create(name="a", model="pair")).id
    environment = (await load.client.beta.environments.create(name="e")).id
    workers = [asyncio.create_task(load.work(agent, environment)) for _ in range(options.sessions)]
    seconds: dict[str, float] = {}
    more = _settings(folder, {**_PAIR["versions"], "3": _GONE})
    address = platform.url.removeprefix("http://").split(":")
    fixed = ["--set", f"host={address[0]}", "--set", f"port={address[1]}"]
    key = ["--set", f"brain.base_url={platform.stub_url}", "--set", "anthropic_api_key=x"]
    steps: list[tuple[str, list[str]]] = [
        ("trial of 2", ["brains", "release", "pair", "2", "--weight", "30"]),
        ("2 is promoted", ["brains", "promote", "pair", "2"]),
        ("roll", ["roll", "--config", str(more), *fixed, *key]),
        ("trial of 3", ["brains", "release", "pair", "3", "--weight", "50"]),
        ("2 is withdrawn", ["brains", "rollback", "pair", "2", "--reason", "withdrawn"]),
    ]
    await asyncio.sleep(options.seconds)
    for phase, arguments in steps:
        load.phase = phase
        seconds[phase] = await _hecaton(platform, *arguments)
        if phase == "trial of 3":
            seconds["3 is taken back"] = await _judged(platform.url)
        await asyncio.sleep(options.seconds)
    load.over = True
    await asyncio.gather(*workers)
    seen = load.seen
    return {
        "sessions": seen.sessions,
        "turns": seen.turns,
        "moves": dict(seen.moves),
        "faults": seen.faults,
        "command_seconds": seconds,
    }


def judge(console: Console, results: dict[str, Any]) -> bool:
    """Print the figures; returns whether the claim stands."""
    table = Table("phase", "command s", "turns", "p50 s", "longest s", "answered by")
    for phase in dict.fromkeys(phase for phase, _, _ in results["turns"]):
        turns = [seconds for each, seconds, _ in results["turns"] if each == phase]
        brains = Counter(brain for each, _, brain in results["turns"] if each == phase)
        took = results["command_seconds"].get(phase, 0.0)
        shares = ", ".join(f"{brain} {count}" for brain, count in sorted(brains.items()))
        figures = (f"{took:.1f}", str(len(turns)), f"{quantile(turns, 0.5):.2f}", f"{max(turns):.2f}", shares)
        table.add_row(phase, *figures)
    console.print(table)
    console.print(f"{results['sessions']} sessions, {len(results['turns'])} turns; moved: {results['moves'] or 'none'}")
    console.print(f"3 was taken back {results['command_seconds']['3 is taken back']:.1f} s after its release")
    for fault in results["faults"][:20]:
        console.print(fault, markup=False)
    console.print(f"faults: {len(results['faults'])}")
    return not results["faults"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_versions")
    parser.add_argument("--sessions", type=int, default=16, help="at work at a time")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase, after its command")
    options = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder, running_stub() as (stub_url, stub_pid):
        os.environ["HECATON_CONFIG"] = str(_settings(Path(folder), _PAIR["versions"]))
        with running_platform(stub_url, stub_pid) as platform:
            results = asyncio.run(measure(platform, Path(folder), options))
    stands = judge(console, results)
    return verdict(console, "versions", results, stands=stands)


if __name__ == "__main__":
    raise SystemExit(main())
