"""Operations: one table that both mounts the routes and describes them in ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agents.access.scopes import KeyScope
from agents.api.answers import MethodNotAllowed

Handler = Callable[[Request], Awaitable[Response]]
Method = Literal["GET", "POST", "DELETE"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter or header, with its JSON schema."""

    name: str
    schema: dict[str, Any]
    description: str = ""
    where: Literal["query", "header"] = "query"


class WorkerAccess(Enum):
    """Which workers' credentials open an operation (spec D.1); API keys open all of them."""

    ENVIRONMENT = auto()
    """The key of the environment in the path."""
    ITEM = auto()
    """That, or the token of the item in the path."""
    SESSION = auto()
    """The key of the session's environment, or the token of the session's item while its lease is held."""
    MEMORY = auto()
    """The token of an item, while its lease is held, whose session has the memory store in the path; who attached it to
    be read only wants no writes."""
    SKILL = auto()
    """The key of an environment of the skill's workspace, or the token of an item whose session has the skill."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. ``body`` is the SDK's request type, ``answer`` its response type.
    ``form`` is the schema of a body that is multipart/form-data. What ``streams_in`` is read as it comes, never
    whole in memory, and has bounds of its own (``agents.api.edge``).

    What ``streams`` is answered as server-sent events when its body asks for that. ``workers``: None shuts them out.
    ``asks_for`` is the least scope of an API key that opens it; None: what its method and path say (``scope``).
    """

    method: Method
    path: str
    handler: Handler
    name: str
    tag: str
    answer: Any = None
    listing: bool = False
    body: type | None = None
    form: dict[str, Any] | None = None
    media_type: str = "application/json"
    parameters: Sequence[Parameter] = field(default=())
    statuses: Sequence[int] = field(default=())
    streams: bool = False
    streams_in: bool = False
    workers: WorkerAccess | None = None
    asks_for: KeyScope | None = None

    @property
    def of_operators(self) -> bool:
        """Whether it is about the platform as a whole, and not about what one workspace has."""
        return self.path.startswith("/-/")

    @property
    def for_environment_keys(self) -> bool:
        """Whether the key of an environment opens it, and not only the token of an item."""
        return self.workers not in (None, WorkerAccess.MEMORY)

    @property
    def scope(self) -> KeyScope:
        """The least scope of an API key that opens it."""
        if self.asks_for is not None:
            return self.asks_for
        if self.of_operators:
            return KeyScope.ADMIN
        return KeyScope.READ_ONLY if self.method == "GET" else KeyScope.DEVELOPER


Permit = Callable[[Operation, Scope], Awaitable[None]]
"""Raises what a request for an operation is refused for."""
Respond = Callable[[Operation, Scope, Receive, Send], Awaitable[Response]]
"""Answers a request for an operation: permitted, handled and, where it is an act, recorded."""


class _PathEndpoint:
    """All methods of one path, as an ASGI application without any layer between."""

    def __init__(self, path: str, table: dict[str, Operation], respond: Respond) -> None:
        self.path = path
        """The template, by which requests are counted (``agents.api.http_metrics``)."""
        self._table = table
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._table.get(scope["method"])
        if operation is None:
            allowed = ", ".join(sorted(self._table))
            raise MethodNotAllowed(f"this path takes {allowed}, not {scope['method']}", details={"allowed": allowed})
        response = await self._respond(operation, scope, receive, send)
        await response(scope, receive, send)


def routes(operations: Sequence[Operation], respond: Respond) -> list[Route]:
    """Return one route per path, so that a wrong method on a known path is told from an unknown path.

    No handler is reached but through *respond*, with the operation that the route stands for.
    """
    tables: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        tables.setdefault(operation.path, {})[operation.method] = operation
    return [Route(path, _PathEndpoint(path, table, respond)) for path, table in tables.items()]
