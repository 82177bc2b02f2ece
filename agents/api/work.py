"""``/v1/environments/{id}/work``: the queue that workers of self-hosted environments serve (spec A.3, D)."""

from __future__ import annotations

import re
from typing import Any, Required

from anthropic.types.beta.environments import (
    BetaSelfHostedWork,
    BetaSelfHostedWorkHeartbeatResponse,
    BetaSelfHostedWorkQueueStats,
)
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from agents.access.scopes import KeyScope
from agents.api import describe
from agents.api.access import acts_for_worker
from agents.api.answers import json_answer
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation, Parameter, WorkerAccess
from agents.api.wire import no_fields, parse, read_json
from agents.api.worker_gate import Worker
from agents.catalog import metadata
from agents.clock import rfc3339
from agents.errors import AuthenticationFailed, InvalidRequest
from agents.listing import Listing
from agents.workers.credentials import secret_of
from agents.workers.polling import PollLine
from agents.workers.records import WorkItem
from agents.workers.rules import DEFAULT_RECLAIM_SECONDS

_MAX_BLOCK_MS = 999  # spec A.3
_MAX_RECLAIM_MS = 86_400_000
_MAX_EXPECTED_CHARS = 100
_WORKER_ID = re.compile(r"[\x21-\x7e]{1,200}")


class StopWorkParams(TypedDict, total=False):
    """How an item is stopped."""

    force: bool


class UpdateWorkParams(TypedDict, total=False):
    """A merge patch; null deletes."""

    metadata: Required[dict[str, str | None]]


class WorkRoutes:
    """Poll, acknowledge, keep, stop; look at the queue."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._queue = platform.store.work
        self._settings = platform.settings.workers
        self._line = PollLine(self._queue, platform.clock, look_seconds=self._settings.look_seconds)

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, work = "/v1/environments/{environment_id}/work", "work", BetaSelfHostedWork
        one = f"{every}/{{work_id}}"
        key, item = WorkerAccess.ENVIRONMENT, WorkerAccess.ITEM
        claims = KeyScope.DEVELOPER  # a GET, but it takes the work from whoever else would do it
        poll = (
            _number("block_ms", "How long to wait for work; absent: not at all.", _MAX_BLOCK_MS),
            _number("reclaim_older_than_ms", "Hand out what was not acknowledged for so long.", _MAX_RECLAIM_MS),
            Parameter("Anthropic-Worker-ID", {"type": "string"}, "Unique name of the worker.", "header"),
        )
        beat = (
            _number("desired_ttl_seconds", "How long the lease shall last.", self._settings.max_lease_seconds),
            describe.text("expected_last_heartbeat", "last_heartbeat of the answer before, or NO_HEARTBEAT."),
        )
        beaten, counted = BetaSelfHostedWorkHeartbeatResponse, BetaSelfHostedWorkQueueStats
        page = describe.page(100)
        stop, update = StopWorkParams, UpdateWorkParams
        return [
            Operation(
                "GET",
                f"{every}/poll",
                self.poll,
                "pollWork",
                tag,
                work | None,
                parameters=poll,
                workers=key,
                asks_for=claims,
            ),
            Operation("GET", f"{every}/stats", self.stats, "getWorkStats", tag, counted, workers=key),
            Operation("GET", every, self.list, "listWork", tag, work, listing=True, parameters=page, workers=key),
            Operation("GET", one, self.retrieve, "getWork", tag, work, workers=key),
            Operation("POST", one, self.update, "updateWork", tag, work, body=update, workers=key),
            Operation("POST", f"{one}/ack", self.ack, "ackWork", tag, work, statuses=[409], workers=key),
            Operation(
                "POST",
                f"{one}/heartbeat",
                self.heartbeat,
                "heartbeatWork",
                tag,
                beaten,
                parameters=beat,
                statuses=[412],
                workers=item,
            ),
            Operation("POST", f"{one}/stop", self.stop, "stopWork", tag, work, body=stop, statuses=[409], workers=item),
        ]

    async def poll(self, request: Request) -> Response:
        _check_key(request)
        query = Query(request.query_params)
        block = _milliseconds(query, "block_ms", _MAX_BLOCK_MS) or 0
        reclaim = _milliseconds(query, "reclaim_older_than_ms", _MAX_RECLAIM_MS)
        environment_id = _environment_id(request)
        worker_id = request.headers.get("anthropic-worker-id")
        if worker_id is not None:
            if not _WORKER_ID.fullmatch(worker_id):
                raise InvalidRequest("Anthropic-Worker-ID: must be 1 to 200 printable ASCII characters without spaces")
            await self._line.present(environment_id, worker_id)
        found = await self._line.poll(
            environment_id,
            block_seconds=block / 1000,
            reclaim_seconds=DEFAULT_RECLAIM_SECONDS if reclaim is None else reclaim / 1000,
        )
        if found is None:
            return json_answer(None)  # 200 with null: the SDK's poller takes neither 204 nor an empty body
        item, token = found
        return json_answer(work_wire(item, secret=secret_of(token)))

    async def ack(self, request: Request) -> Response:
        _check_key(request)
        no_fields(await read_json(request))
        item = await self._queue.acknowledge(*_ids(request), lease_seconds=self._settings.lease_seconds)
        return json_answer(work_wire(item))

    async def heartbeat(self, request: Request) -> Response:
        worker = _check_key(request)
        no_fields(await read_json(request))
        query = Query(request.query_params)
        most = self._settings.max_lease_seconds
        desired = query.integer("desired_ttl_seconds")
        expected = query.text("expected_last_heartbeat")
        if expected is not None and len(expected) > _MAX_EXPECTED_CHARS:
            raise InvalidRequest(
                "expected_last_heartbeat: must be last_heartbeat of the answer before, or NO_HEARTBEAT"
            )
        beat = await self._queue.heartbeat(
            *_ids(request),
            expected=expected,
            ttl_seconds=self._settings.lease_seconds if desired is None else max(2, min(desired, most)),
            digest=None if worker is None else worker.digest,
        )
        return json_answer(beat.wire())

    async def stop(self, request: Request) -> Response:
        params = parse(StopWorkParams, await read_json(request))
        worker = _worker(request)
        item = await self._queue.stop(
            *_ids(request),
            force=params.get("force", False),
            by_worker=acts_for_worker(request.scope),
            digest=None if worker is None else worker.digest,
        )
        return json_answer(work_wire(item))

    async def stats(self, request: Request) -> Response:
        environment_id = await self._environment(request)
        stats = await self._queue.stats(environment_id)
        oldest = stats.oldest_queued_at
        return json_answer(
            {
                "type": "work_queue_stats",
                "depth": stats.depth,
                "pending": stats.pending,
                "oldest_queued_at": None if oldest is None else rfc3339(oldest),
                "workers_polling": stats.workers_polling,
            }
        )

    async def retrieve(self, request: Request) -> Response:
        return json_answer(work_wire(await self._queue.get(*_ids(request))))

    async def update(self, request: Request) -> Response:
        patch = parse(UpdateWorkParams, await read_json(request))["metadata"]
        item = await self._queue.change_metadata(*_ids(request), lambda bag: metadata.merged(bag, patch))
        return json_answer(work_wire(item))

    async def list(self, request: Request) -> Response:
        environment_id = await self._environment(request)
        wanted = page_request(Query(request.query_params), "work", default=20, most=100, with_bounds=False)
        page = wanted.page(await self._queue.list(environment_id, Listing(**wanted.listing())))
        return json_answer({"data": [work_wire(item) for item in page.rows], "next_page": page.next_page})

    async def _environment(self, request: Request) -> str:
        """Return the environment's id. Raises NotFound."""
        return (await self._platform.store.environments.get(_environment_id(request))).id


def work_wire(item: WorkItem, *, secret: str | None = None) -> dict[str, Any]:
    """Return the ``work`` resource; only a poll's answer has a secret."""
    moments = {
        name: None if moment is None else rfc3339(moment)
        for name, moment in (
            ("acknowledged_at", item.acknowledged_at),
            ("started_at", item.started_at),
            ("latest_heartbeat_at", item.latest_heartbeat_at),
            ("stop_requested_at", item.stop_requested_at),
            ("stopped_at", item.stopped_at),
        )
    }
    return {
        "id": item.id,
        "type": "work",
        "environment_id": item.environment_id,
        "state": item.state.value,
        "data": {"type": "session", "id": item.session_id},
        "secret": secret,
        "metadata": dict(item.metadata),
        "created_at": rfc3339(item.created_at),
        **moments,
    }


def _number(name: str, description: str, most: int) -> Parameter:
    return Parameter(name, {"type": "integer", "minimum": 1, "maximum": most}, description)


def _milliseconds(query: Query, name: str, most: int) -> int | None:
    value = query.integer(name)
    if value is not None and value > most:
        raise InvalidRequest(f"{name}: must be between 1 and {most}, not {value}")
    return value


def _worker(request: Request) -> Worker | None:
    return request.state.worker


def _check_key(request: Request) -> Worker | None:
    """Return the worker that asks, None for one with an API key. Raises AuthenticationFailed for one with neither."""
    worker = _worker(request)
    if worker is None and not request.state.principal:
        raise AuthenticationFailed("an environment key is required: send Authorization: Bearer <environment key>")
    return worker


def _environment_id(request: Request) -> str:
    return request.path_params["environment_id"]


def _ids(request: Request) -> tuple[str, str]:
    return _environment_id(request), request.path_params["work_id"]
