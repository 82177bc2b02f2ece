"""``hecaton audit verify``: step by step through a server, a database or an export, and what was found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from anthropic import Anthropic
from rich.console import Console
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.audit import get, post
from agents.commands.failures import CommandFailed
from agents.commands.timeline import printable
from agents.governance.audit.checkpoint import place_of
from agents.governance.audit.entries import EntryQuery
from agents.governance.audit.trail import TrailReader
from agents.governance.audit.verification import SessionsStep, verify_entries, verify_session, verify_sessions

if TYPE_CHECKING:
    from agents.config import Settings

T = TypeVar("T")
Told = Callable[[str], None]
_STEP = 5000


@dataclass(slots=True)
class Outcome:
    """What was looked at, and what is wrong."""

    entries: int = 0
    sessions: int = 0
    events: int = 0
    unsealed: int = 0
    findings: list[dict[str, Any]] = field(default_factory=lambda: [])

    def add(self, step: dict[str, Any]) -> None:
        """Count one more step."""
        for name in ("entries", "sessions", "events", "unsealed"):
            setattr(self, name, getattr(self, name) + step[name])
        self.findings += step["findings"]

    def words(self) -> str:
        """Return how far it has come."""
        return f"{self.entries} entries, {self.sessions} sessions, {self.events} events"


class Verifier(Protocol):
    """Something that can be verified."""

    def run(self, session: str | None, told: Told) -> Outcome:
        """Verify everything, or one session's log."""
        ...

    def entry_at(self, seq: int | None, hash_: str) -> bool | None:
        """Whether the entry of a checkpoint is there; None when it lies before all that is kept."""
        ...


def report(
    console: Console, progress: Console, verifier: Verifier, *, head: str | None, session: str | None, as_json: bool
) -> None:
    """Verify, and print what came out. Raises CommandFailed when something is wrong."""
    try:
        place = None if head is None else place_of(head)
    except ValueError as error:
        raise CommandFailed(f"--head: {error}", exit_code=2) from None
    with progress.status("verifying …") as status:
        outcome = verifier.run(session, lambda words: status.update(f"verifying … {words}"))
    if place is not None:
        there = verifier.entry_at(*place)
        if not there:
            why = "is older than what is kept" if there is None else "is not in the trail: something before it changed"
            outcome.findings.append(
                {"session": "", "seq": place[0] or 0, "message": f"the head {place[1][:16]}… {why}"}
            )
    if as_json:
        print_json(console, asdict(outcome))
    else:
        console.print(f"{outcome.words()} verified")
        if outcome.unsealed:
            console.print(f"{outcome.unsealed} sessions have grown since their last seal")
        for finding in outcome.findings:
            where = finding["session"] or "the trail"
            console.print(Text(f"{printable(where)}: {printable(finding['message'])}"))
    if outcome.findings:
        raise CommandFailed(f"{len(outcome.findings)} findings: the trail is not what was written")


def server_verifier(client: Anthropic) -> Verifier:
    """Return what verifies the trail of a running server, by that server."""
    return _Server(client)


def offline_verifier(settings: Settings | None, folder: Path | None) -> Verifier:
    """Return what verifies an export, or the database that the settings name, in this process."""
    if folder is not None:
        from agents.commands.audit_parquet import ParquetTrail

        return _Reader(ParquetTrail(folder))
    assert settings is not None
    return _Database(settings)


class _Server:
    def __init__(self, client: Anthropic) -> None:
        self._client = client

    def run(self, session: str | None, told: Told) -> Outcome:
        outcome = Outcome()
        step: dict[str, Any] | None = {} if session is None else {"session_id": session}
        while step is not None:
            answer = post(self._client, "/verify", step)
            outcome.add(answer)
            told(outcome.words())
            step = None if session is not None else answer["next"]
        return outcome

    def entry_at(self, seq: int | None, hash_: str) -> bool | None:
        if get(self._client, "/entries", hash=hash_, limit=1)["data"]:
            return True
        oldest = get(self._client, "/entries", order="asc", limit=1)["data"]
        return None if seq is not None and oldest and seq < oldest[0]["seq"] else False


class _Reader:
    def __init__(self, reader: TrailReader) -> None:
        self._reader = reader

    def run(self, session: str | None, told: Told) -> Outcome:
        return self._within(lambda reader: _verified(reader, session, told))

    def entry_at(self, seq: int | None, hash_: str) -> bool | None:
        return self._within(lambda reader: _entry_at(reader, seq, hash_))

    def _within(self, work: Callable[[TrailReader], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run(work(self._reader))


class _Database(_Reader):
    """The database is only read: what may be evidence is not migrated."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def _within(self, work: Callable[[TrailReader], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run(self._opened(work))

    async def _opened(self, work: Callable[[TrailReader], Coroutine[Any, Any, T]]) -> T:
        from agents.commands.database_place import existing_database
        from agents.store.audit_trail import SqlTrailReader
        from agents.store.database import open_database
        from agents.store.schema import is_current

        database = open_database(existing_database(self._settings))
        try:
            if not await is_current(database):
                raise CommandFailed("the database has another release's schema: verify it with that release")
            return await work(SqlTrailReader(database))
        finally:
            await database.close()


async def _verified(reader: TrailReader, session: str | None, told: Told) -> Outcome:
    outcome = Outcome()
    if session is not None:
        one = SessionsStep("", done=True)
        await verify_session(reader, session, one)
        _count(outcome, one)
        return outcome
    step = await verify_entries(reader, _STEP)
    while True:
        outcome.entries += step.checked
        outcome.findings += [asdict(finding) for finding in step.findings]
        told(outcome.words())
        if step.done or step.findings:
            break
        step = await verify_entries(reader, _STEP, after=step.after, hash_=step.hash)
    sessions = await verify_sessions(reader, _STEP)
    while True:
        _count(outcome, sessions)
        told(outcome.words())
        if sessions.done:
            return outcome
        sessions = await verify_sessions(reader, _STEP, after=sessions.after)


def _count(outcome: Outcome, step: SessionsStep) -> None:
    outcome.sessions += step.sessions
    outcome.events += step.events
    outcome.unsealed += step.unsealed
    outcome.findings += [asdict(finding) for finding in step.findings]


async def _entry_at(reader: TrailReader, seq: int | None, hash_: str) -> bool | None:
    if await reader.entries(EntryQuery(limit=1, hash=hash_)):
        return True
    oldest = await reader.entries(EntryQuery(limit=1))
    return None if seq is not None and oldest and seq < oldest[0].seq else False
