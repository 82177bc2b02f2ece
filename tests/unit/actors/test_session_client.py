"""A gateway finds the owner of a session, and the next one: harnesses are link servers without Ray between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from actors.harness_link import HarnessLink
from actors.link_server import Connection, Endpoint, LinkServer
from actors.message_stream import Message
from actors.replies import Reply, reply_of
from actors.session_client import SessionClient
from agents.config import Settings
from agents.errors import Conflict, Fenced, NotFound, Unavailable
from agents.ids import SessionId
from agents.sessions.host import Frame
from agents.sessions.log import LeaseTable
from agents.sessions.partition import partition_of

SESSION = SessionId("sesn_1")
HOME = partition_of(SESSION, 64)
DEADLINE = 5.0


class Table:
    """The store's lease table, written by the test."""

    def __init__(self) -> None:
        self.owners: dict[int, str] = {}
        self.members: set[str] = set()
        self.away = False
        self.reads = 0
        self._read = asyncio.Condition()

    async def table(self) -> LeaseTable:
        async with self._read:
            self.reads += 1
            self._read.notify_all()
        if self.away:
            raise Unavailable("the store is away")
        return LeaseTable(dict(self.owners), tuple(sorted(self.members)))

    async def seen(self) -> None:
        """Return once the table was read twice more: whatever the first reading led to has happened."""
        last = self.reads + 2
        async with asyncio.timeout(DEADLINE), self._read:
            await self._read.wait_for(lambda: self.reads >= last)


class Owner:
    """A harness: answers calls by ``answer``; ``holds`` tells whether it takes watchers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.holds = True
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.called = asyncio.Event()
        self.answer: Callable[[str, Sequence[Any]], Awaitable[Any]] = self.echo
        self.connections: list[OwnerConnection] = []
        self.server = LinkServer(self._connect)
        self.endpoint: Endpoint | None = None

    def _connect(self, stream: Any) -> Connection:
        self.connections.append(OwnerConnection(stream, self))
        return self.connections[-1]

    async def start(self) -> None:
        self.endpoint = await self.server.start("127.0.0.1")

    async def dispatch(self, method: str, args: Sequence[Any]) -> Reply:
        self.calls.append((method, tuple(args)))
        self.called.set()
        return await reply_of(self.answer(method, args))

    async def echo(self, method: str, args: Sequence[Any]) -> Any:
        del args
        return f"{method} by {self.name}"

    def say(self, *message: Any) -> None:
        for connection in self.connections:
            connection.stream.send(message)

    def show(self, *numbers: int) -> None:
        self.say("frames", SESSION, [Frame("t", b"{}", seq=n, event_id=f"sevt_{n}").packed() for n in numbers])


class OwnerConnection(Connection):
    """A gateway's connection to an Owner."""

    def __init__(self, stream: Any, owner: Owner) -> None:
        super().__init__(stream, owner.dispatch, None)
        self._owner = owner

    def received(self, message: Message) -> None:
        match message:
            case ("watch", number, _, _):
                refusal = None if self._owner.holds else Fenced("not mine")
                self.stream.send(("reply", number, Reply(True, refusal)))
            case ("unwatch", _):
                pass
            case _:
                super().received(message)


async def hang(method: str, args: Sequence[Any]) -> Any:
    await asyncio.Event().wait()


class Stage:
    """Harnesses by name, the table, and the client under test."""

    def __init__(self, client: SessionClient, table: Table, owners: dict[str, Owner]) -> None:
        self.client = client
        self.table = table
        self.owners = owners

    async def owner(self, name: str, *, owns: bool = False) -> Owner:
        made = self.owners[name] = Owner(name)
        await made.start()
        self.table.members.add(name)
        if owns:
            self.table.owners[HOME] = name
        return made

    async def send(self, **more: Any) -> Any:
        async with asyncio.timeout(DEADLINE):
            return await self.client.send(SESSION, [{"type": "user.message", "id": "sevt_1"}], **more)


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    owners: dict[str, Owner] = {}

    async def find(self: HarnessLink) -> Endpoint:
        if self.name not in owners:
            raise ValueError("no such actor")
        endpoint = owners[self.name].endpoint
        assert endpoint is not None
        return endpoint

    monkeypatch.setattr(HarnessLink, "_find", find)
    monkeypatch.setattr("actors.harness_link._OPEN_SECONDS", 0.3)
    table = Table()
    settings = Settings.model_validate({"harness": {"lease_ttl_seconds": 0.06}, "gateway": {"owner_wait_seconds": 2}})
    client = SessionClient(settings, table)  # type: ignore[arg-type]
    yield Stage(client, table, owners)
    await client.close()
    for each in owners.values():
        await each.server.stop()


def fenced_once(owner: Owner, then: Callable[[], None]) -> Callable[[str, Sequence[Any]], Awaitable[Any]]:
    async def answer(method: str, args: Sequence[Any]) -> Any:
        owner.answer = owner.echo
        then()
        raise Fenced("not mine")

    return answer


async def test_a_call_goes_to_the_owner_of_the_sessions_partition(stage: Stage) -> None:
    other, mine = await stage.owner("harness-0"), await stage.owner("harness-1", owns=True)
    stage.table.owners[HOME + 1] = "harness-0"
    assert await stage.send(repeat_key="0:k") == "send by harness-1"
    events = [{"type": "user.message", "id": "sevt_1"}]
    assert mine.calls == [("send", (SESSION, events, "0:k", False))]
    assert other.calls == []


async def test_a_call_that_is_fenced_goes_to_the_next_owner_and_says_that_it_is_made_again(stage: Stage) -> None:
    old, new = await stage.owner("harness-0", owns=True), await stage.owner("harness-1")
    old.answer = fenced_once(old, lambda: stage.table.owners.update({HOME: "harness-1"}))
    assert await stage.send() == "send by harness-1"
    assert [args[3] for _, args in old.calls + new.calls] == [False, True]


async def test_a_call_whose_owner_dies_in_the_middle_is_made_again_at_the_next(stage: Stage) -> None:
    old, new = await stage.owner("harness-0", owns=True), await stage.owner("harness-1")
    old.answer = hang
    sending = asyncio.create_task(stage.send())
    await old.called.wait()
    stage.table.owners[HOME] = "harness-1"
    await old.server.stop()
    assert await sending == "send by harness-1"
    assert new.calls[0][1][3] is True


async def test_a_call_to_an_owner_that_hangs_is_taken_to_the_one_that_took_over(stage: Stage) -> None:
    frozen, new = await stage.owner("harness-0", owns=True), await stage.owner("harness-1")
    frozen.answer = hang
    sending = asyncio.create_task(stage.send())
    await frozen.called.wait()
    stage.table.owners[HOME] = "harness-1"  # its lease ran out; its connection stands
    assert await sending == "send by harness-1"
    assert new.calls[0][1][3] is True


async def test_a_call_waits_while_nobody_owns_the_partition(stage: Stage) -> None:
    sending = asyncio.create_task(stage.send())
    await stage.table.seen()
    assert not sending.done()
    await stage.owner("harness-0", owns=True)
    assert await sending == "send by harness-0"


async def test_a_call_that_finds_no_owner_in_time_is_unavailable_with_a_time_to_come_back(stage: Stage) -> None:
    stage.client._wait = 0.1
    with pytest.raises(Unavailable) as caught:
        await stage.send()
    assert caught.value.retry_after


async def test_nothing_sent_means_nothing_repeated(stage: Stage) -> None:
    stage.table.owners[HOME] = "harness-0"  # an owner that nobody can reach yet
    stage.table.members.add("harness-0")
    deleting = asyncio.create_task(stage.client.delete(SESSION))
    await stage.table.seen()
    owner = Owner("harness-0")

    async def gone(method: str, args: Sequence[Any]) -> Any:
        raise NotFound("no such session")

    owner.answer = gone
    await owner.start()
    stage.owners["harness-0"] = owner
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(NotFound):
            await deleting


async def test_a_deletion_whose_answer_was_lost_has_succeeded_when_the_session_is_gone(stage: Stage) -> None:
    old, new = await stage.owner("harness-0", owns=True), await stage.owner("harness-1")

    async def gone(method: str, args: Sequence[Any]) -> Any:
        raise NotFound("no such session")

    old.answer, new.answer = hang, gone
    deleting = asyncio.create_task(stage.client.delete(SESSION))
    await old.called.wait()
    stage.table.owners[HOME] = "harness-1"
    await old.server.stop()
    async with asyncio.timeout(DEADLINE):
        await deleting


@pytest.mark.parametrize("error", [NotFound("no"), Conflict("archived"), Unavailable("the database is away")])
async def test_the_owners_own_refusal_is_passed_on_at_once(stage: Stage, error: Exception) -> None:
    owner = await stage.owner("harness-0", owns=True)

    async def refuse(method: str, args: Sequence[Any]) -> Any:
        raise error

    owner.answer = refuse
    with pytest.raises(type(error)):
        await stage.send()
    assert len(owner.calls) == 1


async def test_while_the_store_is_away_the_owners_last_known_are_asked(stage: Stage) -> None:
    owner = await stage.owner("harness-0", owns=True)
    assert await stage.send() == "send by harness-0"
    stage.table.away = True
    await stage.table.seen()
    assert await stage.send() == "send by harness-0"
    owner.answer = fenced_once(owner, lambda: None)
    assert await stage.send() == "send by harness-0"


async def frames_until_lost(frames: AsyncIterator[Sequence[Frame]]) -> list[int | None]:
    seen: list[int | None] = []
    with pytest.raises(Unavailable):
        async with asyncio.timeout(DEADLINE):
            async for batch in frames:
                seen += [frame.seq for frame in batch]
    return seen


@pytest.mark.parametrize("how", ["dies", "says that it moved", "lost its lease"])
async def test_a_watch_ends_as_unavailable_when_its_session_moves_and_stands_again_at_the_next_owner(
    stage: Stage, how: str
) -> None:
    old, new = await stage.owner("harness-0", owns=True), await stage.owner("harness-1")
    async with stage.client.watch(SESSION, previews=frozenset()) as frames:
        old.show(1)
        async with asyncio.timeout(DEADLINE):
            assert [each.seq for each in await anext(frames)] == [1]
        stage.table.owners[HOME] = "harness-1"
        old.holds = False
        if how == "dies":
            await old.server.stop()
        elif how == "says that it moved":
            old.say("moved", SESSION)
        assert await frames_until_lost(frames) == []
    async with stage.client.watch(SESSION, previews=frozenset()) as frames:
        new.show(2)
        async with asyncio.timeout(DEADLINE):
            assert [each.seq for each in await anext(frames)] == [2]


async def test_links_to_harnesses_that_have_left_are_dropped(stage: Stage) -> None:
    gone = await stage.owner("harness-0", owns=True)
    assert await stage.send() == "send by harness-0"
    await stage.owner("harness-1", owns=True)
    await stage.table.seen()
    assert gone.server.open_links == 1, "it is a member still: another of its partitions may be asked for"
    stage.table.members.discard("harness-0")
    await stage.table.seen()
    assert "harness-0" not in stage.client._links
    assert await stage.send() == "send by harness-1"


async def test_members_report_their_figures_and_one_that_does_not_answer_reports_none(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.session_client._FIGURES_SECONDS", 0.2)
    await stage.owner("harness-0", owns=True)
    stage.table.members.add("harness-1")
    assert await stage.client.members() == {"harness-0": "figures by harness-0", "harness-1": None}
