"""Tasks through a running platform: each as a session of its own, as many at a time as is asked for, and judged."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import httpx2
from anthropic import APIError, AsyncAnthropic

from agents.experiments.tasks.domain import FOLDER, Domain, copy_databases
from agents.experiments.tasks.replays import PreparedTask, message
from agents.experiments.tasks.state import rows_changed
from agents.experiments.tasks.verdict import Check, judge
from agents.statistics.percentiles import percentile

_MODEL = "claude-sonnet-5-5"
_ENDS = ("session.status_idle", "session.status_terminated", "session.deleted")


@dataclass(frozen=True, slots=True)
class Episode:
    """One session over one task."""

    task: str
    repetition: int
    session: str
    seconds: float
    """From the user's message to the end of the turn."""
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What came of a run."""

    domain: str
    concurrency: int
    repetitions: int
    seconds: float
    episodes: tuple[Episode, ...]
    tasks: tuple[PreparedTask, ...]
    left_out: Mapping[str, str]

    @property
    def passed(self) -> int:
        """Sessions that did everything right."""
        return sum(episode.passed for episode in self.episodes)

    def summary(self) -> dict[str, Any]:
        """Return everything as JSON; times in seconds."""
        checks = [check.passed for episode in self.episodes for check in episode.checks]
        # What did not even end took no time that could be compared.
        took = [episode.seconds for episode in self.episodes if episode.passed]
        return {
            "domain": self.domain,
            "concurrency": self.concurrency,
            "repetitions": self.repetitions,
            "sessions": len(self.episodes),
            "passed": self.passed,
            "checks": {"all": len(checks), "passed": sum(checks)},
            "seconds": self.seconds,
            "passed_per_second": self.passed / self.seconds if self.seconds else 0.0,
            "session_seconds": {f"p{share}": percentile(took, share) if took else None for share in (50, 95, 99)},
            "tasks": [self._of(task) for task in self.tasks],
            "left_out": dict(self.left_out),
        }

    def _of(self, prepared: PreparedTask) -> dict[str, Any]:
        own = [episode for episode in self.episodes if episode.task == prepared.task.id]
        checks = [check.passed for episode in own for check in episode.checks]
        return {
            "id": prepared.task.id,
            "calls": len(prepared.task.actions),
            "rows_changed": rows_changed(prepared.wanted),
            "sessions": len(own),
            "passed": sum(episode.passed for episode in own),
            "checks_passed": sum(checks) / len(checks) if checks else 0.0,
            "notes": list(prepared.notes),
            "failures": [
                {"repetition": episode.repetition, "session": episode.session, **asdict(check)}
                for episode in own
                for check in episode.checks
                if not check.passed
            ],
        }


class TaskRunner:
    """Runs tasks on one platform, whose brain plays the tasks' plans and whose hands see the folder *databases*."""

    def __init__(self, client: AsyncAnthropic, domain: Domain, databases: Path, *, patience: float = 60.0) -> None:
        """*patience*: seconds after which a session that has not ended has failed."""
        self._client = client
        self._domain = domain
        self._databases = databases
        self._patience = patience
        self._agent = ""
        self._environment = ""

    async def start(self) -> None:
        """Add the domain's hands to the platform, and the agent that uses them."""
        self._databases.mkdir(parents=True, exist_ok=True)
        for hand in self._domain.hands:
            environment = {"env_vars": {FOLDER: str(self._databases)}}
            definition = {"server": hand.server, "runtime_env": environment, "min_replicas": 1}
            body = {"name": hand.name, "definition": definition}
            await self._client.post("/-/hands", cast_to=object, body=body)
        beta = self._client.beta
        agent = await beta.agents.create(name=f"tasks-{self._domain.name}", model=_MODEL, **self._tools())
        networking: Any = {"type": "limited", "allowed_hosts": []}
        config: Any = {"type": "cloud", "networking": networking}
        environment = await beta.environments.create(name=f"tasks-{time.time_ns():x}", config=config)
        self._agent, self._environment = agent.id, environment.id

    def _tools(self) -> dict[str, Any]:
        names = [hand.name for hand in self._domain.hands]
        allowed = {"permission_policy": {"type": "always_allow"}}
        return {
            "mcp_servers": [{"type": "url", "name": name, "url": f"hand://{name}"} for name in names],
            "tools": [{"type": "mcp_toolset", "mcp_server_name": name, "default_config": allowed} for name in names],
        }

    async def run(
        self, prepared: Sequence[PreparedTask], *, repetitions: int, concurrency: int, left_out: Mapping[str, str]
    ) -> TaskReport:
        """Run every task so often, *concurrency* sessions at a time; repetitions of one task are far apart."""
        waiting = itertools.product(range(repetitions), prepared)
        episodes: list[Episode] = []

        async def work() -> None:
            for repetition, each in waiting:
                episodes.append(await self.episode(each, repetition))

        # The hands' start is no part of the load.
        await self.episode(prepared[0], -1)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
        seconds = time.perf_counter() - began
        name = self._domain.name
        return TaskReport(name, concurrency, repetitions, seconds, tuple(episodes), tuple(prepared), left_out)

    async def episode(self, prepared: PreparedTask, repetition: int) -> Episode:
        """Run one session and judge it; a platform that refuses or does not end fails its task."""
        began, session = time.perf_counter(), ""
        try:
            async with asyncio.timeout(self._patience):
                created = await self._client.beta.sessions.create(agent=self._agent, environment_id=self._environment)
                session = created.id
                folder = self._databases / session
                await asyncio.to_thread(copy_databases, prepared.initial, folder)
                began = time.perf_counter()
                events = await self._turn(session, message(prepared.task))
                took = time.perf_counter() - began
        except TimeoutError:
            checks = (Check("turn", f"it did not end within {self._patience:g} s"),)
        except (APIError, httpx2.HTTPError) as error:
            checks = (Check("turn", f"{type(error).__name__}: {error}"),)
        else:
            rows = await asyncio.to_thread(self._domain.read, folder)
            return Episode(prepared.task.id, repetition, session, took, judge(self._domain, prepared, events, rows))
        return Episode(prepared.task.id, repetition, session, time.perf_counter() - began, checks)

    async def _turn(self, session: str, text: str) -> list[dict[str, Any]]:
        """Say something and return all that came of it, up to the event that ends the turn."""
        said: Any = {"type": "user.message", "content": [{"type": "text", "text": text}]}
        async with await self._client.beta.sessions.events.stream(session) as stream:
            await self._client.beta.sessions.events.send(session, events=[said])
            events: list[dict[str, Any]] = []
            async for event in stream:
                events.append(cast("dict[str, Any]", event.to_dict(mode="json")))
                if event.type in _ENDS:
                    break
        return events
