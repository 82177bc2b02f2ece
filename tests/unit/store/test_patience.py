"""Riding out: what is tried again, how often, and until when."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from agents.errors import Conflict, NotFound, Unavailable
from agents.store import patience
from agents.store.patience import Attempt, ride_out

LOST = ConnectionResetError(104, "reset")


class Attempts:
    """Fails as told, one failure per attempt, then works; a failure may strike during the commit."""

    def __init__(self, *failures: BaseException, committing: bool = False) -> None:
        self._failures = list(failures)
        self._committing = committing
        self.count = 0

    async def __call__(self, attempt: Attempt) -> str:
        self.count += 1
        attempt.committing = self._committing
        if self._failures:
            raise self._failures.pop(0)
        return "done"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses asked for; nobody really sleeps."""
    asked: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        asked.append(seconds)
        await real(0)

    monkeypatch.setattr(patience.asyncio, "sleep", sleep)
    return asked


async def ride(attempts: Attempts, *, deadline: float = 1000, repeatable: bool = False) -> str:
    return await ride_out(attempts, deadline=deadline, first_limit=deadline / 3, repeatable=repeatable)


async def test_what_passes_is_tried_until_it_works(pauses: list[float]) -> None:
    attempts = Attempts(LOST, asyncpg.CannotConnectNowError("starting"), TimeoutError())
    assert await ride(attempts) == "done"
    assert attempts.count == 4


async def test_the_second_attempt_follows_at_once_and_then_the_pauses_grow_to_a_bound(pauses: list[float]) -> None:
    await ride(Attempts(*[LOST] * 12))
    assert pauses[0] == 0
    assert all(0.025 * 2**n <= pause <= 0.05 * 2**n for n, pause in enumerate(pauses[1:5]))
    assert all(0.5 <= pause <= 1 for pause in pauses[6:])


@pytest.mark.parametrize("failure", [asyncpg.InvalidPasswordError("no"), asyncpg.DiskFullError("full")])
async def test_what_waiting_cannot_mend_is_told_at_once(failure: Exception, pauses: list[float]) -> None:
    attempts = Attempts(failure)
    with pytest.raises(Unavailable):
        await ride(attempts, repeatable=True)
    assert attempts.count == 1 and pauses == []


async def test_a_violated_constraint_is_a_conflict_at_once(pauses: list[float]) -> None:
    with pytest.raises(Conflict):
        await ride(Attempts(asyncpg.UniqueViolationError("twice")), repeatable=True)
    assert pauses == []


async def test_what_the_work_itself_refuses_is_passed_on(pauses: list[float]) -> None:
    with pytest.raises(NotFound):
        await ride(Attempts(NotFound("gone")), repeatable=True)
    with pytest.raises(ZeroDivisionError):
        await ride(Attempts(ZeroDivisionError()), repeatable=True)
    assert pauses == []


async def test_a_write_lost_in_its_commit_is_done_again_only_if_that_is_harmless(pauses: list[float]) -> None:
    once = Attempts(LOST, committing=True)
    with pytest.raises(Unavailable, match="not known"):
        await ride(once)
    assert once.count == 1
    repeatable = Attempts(LOST, LOST, committing=True)
    assert await ride(repeatable, repeatable=True) == "done"
    assert repeatable.count == 3


async def test_a_definite_refusal_in_the_commit_leaves_no_doubt(pauses: list[float]) -> None:
    with pytest.raises(Unavailable) as refused:
        await ride(Attempts(asyncpg.DiskFullError("full"), committing=True))
    assert "not known" not in refused.value.message


async def test_at_the_deadline_it_is_unavailable_and_may_be_tried_later() -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable) as refused:
        await ride(Attempts(*[LOST] * 1000), deadline=0.2, repeatable=True)
    assert refused.value.retry_after
    assert asyncio.get_running_loop().time() >= began + 0.2


async def test_an_attempt_that_hangs_is_cut_and_another_made() -> None:
    cut = asyncio.Event()

    async def attempt(_: Attempt) -> str:
        if cut.is_set():
            return "done"
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()
        raise AssertionError

    async with asyncio.timeout(30):
        assert await ride_out(attempt, deadline=60, first_limit=0.05, repeatable=False) == "done"


async def test_a_caller_that_gives_up_is_obeyed(pauses: list[float]) -> None:
    attempts = Attempts(*[LOST] * 10**6)
    task = asyncio.create_task(ride(attempts))
    while attempts.count < 3:
        await asyncio.wait([task], timeout=0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
