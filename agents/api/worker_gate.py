"""Who comes with a worker's credential, and what it opens (spec D.1).

Nothing, unless an operation says otherwise: the request is matched by the very routes that serve it, so what a path
looks like decides nothing. Every request is looked up anew: a key that is revoked, and a token whose lease is lost,
open nothing from then on. What is foreign is refused in the same words whether or not it exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.routing import Match, Route
from starlette.types import Scope

from agents.api.routes import Operation, WorkerAccess
from agents.catalog.team import skills_of
from agents.clock import Clock
from agents.errors import AuthenticationFailed, PermissionDenied, Unavailable
from agents.ids import SessionId
from agents.memory.attaching import access_to
from agents.store.ports import Store
from agents.workers import rules
from agents.workers.credentials import digest_of, is_environment_key, work_of
from agents.workers.records import WorkItem


@dataclass(frozen=True, slots=True)
class Worker:
    """The holder of an environment's key, or of the token of one claim of one of its items."""

    environment_id: str
    item: WorkItem | None = None
    digest: str | None = None
    """That of the token."""
    key_digest: str | None = None
    """That of the environment's key, when it is what the worker shows."""


class WorkerGate:
    """Lets workers through to the operations that are theirs."""

    def __init__(self, operations: Iterable[Operation], store: Store, clock: Clock) -> None:
        self._routes = _access_by_route(operations)
        self._store = store
        self._clock = clock

    async def admit(self, scope: Scope, credential: str) -> Worker:
        """Return who comes. Raises AuthenticationFailed, PermissionDenied, NotFound, Unavailable."""
        worker = await self._identify(credential)
        access, path = self._wanted(scope)
        match access:
            case WorkerAccess.ENVIRONMENT if worker.item is None:
                allowed = path["environment_id"] == worker.environment_id
            case WorkerAccess.ITEM:
                allowed = path["environment_id"] == worker.environment_id
                allowed = allowed and (worker.item is None or path["work_id"] == worker.item.id)
            case WorkerAccess.SESSION:
                self._check_held(worker)
                allowed = await self._has_session(worker, path["session_id"])
            case WorkerAccess.MEMORY if worker.item is not None:
                self._check_held(worker)
                allowed = await self._may_use(worker.item, path["memory_store_id"], writes=scope["method"] != "GET")
            case WorkerAccess.SKILL:
                self._check_held(worker)
                allowed = await self._has_skill(worker, path["skill_id"])
            case _:
                raise PermissionDenied("this credential is a worker's: it opens the work of its environment alone")
        if not allowed:
            raise PermissionDenied("this credential is for another environment or session")
        return worker

    async def _identify(self, credential: str) -> Worker:
        digest = digest_of(credential)
        if is_environment_key(credential):
            key = await self._store.environment_keys.find(digest)
            if key is not None and key.revoked_at is None:
                return Worker(key.environment_id, key_digest=digest)
            raise AuthenticationFailed("the environment key is not valid" + (": it was revoked" if key else ""))
        work_id = work_of(credential)
        item = await self._store.work.find(work_id) if work_id is not None else None
        if item is None or not rules.knows(item, digest):
            raise AuthenticationFailed("the worker's credential is not valid")
        return Worker(item.environment_id, item, digest)

    def _wanted(self, scope: Scope) -> tuple[WorkerAccess | None, dict[str, str]]:
        for route, access in self._routes:
            match, child = route.matches(scope)
            if match is not Match.NONE:
                return access.get(scope["method"]), child["path_params"]
        return None, {}

    def _check_held(self, worker: Worker) -> None:
        if worker.item is None or worker.digest is None:
            return
        if not rules.holds(worker.item, worker.digest, self._clock.now()):
            raise AuthenticationFailed("the lease that this sessions token came with is over")

    async def _may_use(self, item: WorkItem, store_id: str, *, writes: bool) -> bool:
        """Whether the item's session has the memory store. Raises PermissionDenied for writing where it only reads."""
        session = await self._store.sessions.get(SessionId(item.session_id))
        attached = access_to(session.resources, store_id)
        if writes and attached == "read_only":
            raise PermissionDenied(f"memory store {store_id} is read_only in session {session.id}")
        return attached is not None

    async def _has_session(self, worker: Worker, session_id: str) -> bool:
        if worker.item is not None:
            return worker.item.session_id == session_id
        return await self._store.sessions.environment_of(SessionId(session_id)) == worker.environment_id

    async def _has_skill(self, worker: Worker, skill_id: str) -> bool:
        if worker.item is not None:
            session = await self._store.sessions.get(SessionId(worker.item.session_id))
            return any(skill["skill_id"] == skill_id for skill in skills_of(session.agent))
        mine = await self._store.owners.workspace_of("environment", worker.environment_id)
        return mine is not None and mine == await self._store.owners.workspace_of("skill", skill_id)


async def lapsed(worker: Worker, store: Store, clock: Clock, *, every_seconds: float) -> None:
    """Return when the worker's credential opens nothing any more: what it has open must end then, too."""
    while True:
        await clock.sleep(every_seconds)
        try:
            if not await _still_good(worker, store, clock):
                return
        except Unavailable:
            continue  # whoever cannot be asked has revoked nothing


async def _still_good(worker: Worker, store: Store, clock: Clock) -> bool:
    if worker.key_digest is not None:
        key = await store.environment_keys.find(worker.key_digest)
        return key is not None and key.revoked_at is None
    assert worker.item is not None and worker.digest is not None, "a worker shows a key or a token"
    item = await store.work.find(worker.item.id)
    return item is not None and rules.holds(item, worker.digest, clock.now())


def _access_by_route(operations: Iterable[Operation]) -> Sequence[tuple[Route, dict[str, WorkerAccess | None]]]:
    """Return one route per path, in the order in which requests are matched."""
    by_path: dict[str, dict[str, WorkerAccess | None]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation.workers
    return [(Route(path, _never), access) for path, access in by_path.items()]


async def _never(request: object) -> None:
    raise AssertionError("routes of the gate are only matched")
