"""``/-/webhooks``: endpoints that are told what happens (docs/webhooks.md).

Ours: the vendor registers endpoints in its console. The signing secret is shown once, when an endpoint is made.
"""

from __future__ import annotations

import logging
from typing import Any, Literal, Required

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from agents.access.workspaces import DEFAULT_WORKSPACE, WORKSPACE
from agents.api import describe
from agents.api.answers import json_answer
from agents.api.paging import page_request
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation
from agents.api.wire import no_fields, parse, read_json
from agents.catalog import limits
from agents.clock import rfc3339
from agents.errors import InvalidRequest
from agents.ids import new_id
from agents.listing import Listing
from agents.net.guard import MAX_URL_CHARS, NetworkRefused
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import master_keys
from agents.vaults.secrets import sealed_anew
from agents.webhooks.endpoint import new_secret
from agents.webhooks.names import EVENT_NAMES, EVERYTHING
from agents.webhooks.registrations import MOST_REGISTRATIONS, SECRET_FIELD, Registration, endpoint_place

logger = logging.getLogger(__name__)


class CreateWebhookParams(TypedDict, total=False):
    """``events``: names, or ``["*"]``, which is what it is when it is not said. ``workspace_id``: ``default``."""

    url: Required[str]
    events: list[str]
    workspace_id: str


class WebhookEndpoint(TypedDict):
    """An endpoint as it is shown after the first time."""

    id: str
    type: str
    workspace_id: str
    url: str
    events: list[str]
    status: Literal["enabled", "disabled"]
    disabled_at: str | None
    disabled_reason: str | None
    created_at: str


class NewWebhookEndpoint(WebhookEndpoint):
    """An endpoint as it is shown once."""

    secret: str


class DeletedWebhookEndpoint(TypedDict):
    """What a deletion is answered with."""

    id: str
    type: str


class WebhookRoutes:
    """Register, look at, list, enable again, delete."""

    def __init__(self, platform: Platform) -> None:
        settings = platform.settings
        self._registrations = platform.store.webhook_registrations
        self._envelope = Envelope(master_keys(settings))
        self._guard = settings.network.guard()
        self._clock = platform.clock

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, body = "/-/webhooks", "webhooks", CreateWebhookParams
        one, made, shown, gone = f"{every}/{{webhook_id}}", NewWebhookEndpoint, WebhookEndpoint, DeletedWebhookEndpoint
        listing = (describe.text("workspace_id", "Only endpoints of this workspace."), *describe.page(100))
        return [
            Operation("POST", every, self.create, "createWebhook", tag, made, body=body, statuses=[409]),
            Operation("GET", every, self.list, "listWebhooks", tag, shown, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getWebhook", tag, shown),
            Operation("POST", f"{one}/enable", self.enable, "enableWebhook", tag, shown),
            Operation("DELETE", one, self.delete, "deleteWebhook", tag, gone),
        ]

    async def create(self, request: Request) -> Response:
        params = parse(CreateWebhookParams, await read_json(request))
        url, workspace = params["url"], params.get("workspace_id", DEFAULT_WORKSPACE)
        limits.check_length("url", url, MAX_URL_CHARS, shortest=1)
        try:
            self._guard.check_url(url)
        except NetworkRefused as refused:
            raise InvalidRequest(f"url: {refused.message}") from None
        if not WORKSPACE.fullmatch(workspace):
            raise InvalidRequest("workspace_id: must be 1 to 63 of a-z, 0-9, _ and -, and begin with a letter or digit")
        endpoint_id, secret = new_id("whk"), new_secret()
        registration = Registration(
            id=endpoint_id,
            workspace_id=workspace,
            url=url,
            sealed=await sealed_anew(self._envelope, endpoint_place(endpoint_id), {SECRET_FIELD: secret}),
            created_at=self._clock.now(),
            events=_names(params.get("events", [EVERYTHING])),
        )
        await self._registrations.insert(registration, most=MOST_REGISTRATIONS)
        logger.info("webhook %s: registered for workspace %s", endpoint_id, workspace)
        return json_answer({**_wire(registration), "secret": secret.get_secret_value()})

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        wanted = page_request(query, "webhooks", default=20, most=100, with_bounds=False)
        listing = Listing(include_archived=True, workspace_id=query.text("workspace_id"), **wanted.listing())
        page = wanted.page(await self._registrations.list(listing))
        return json_answer({"data": [_wire(each) for each in page.rows], "next_page": page.next_page})

    async def retrieve(self, request: Request) -> Response:
        return json_answer(_wire(await self._registrations.get(request.path_params["webhook_id"])))

    async def enable(self, request: Request) -> Response:
        no_fields(await read_json(request))
        return json_answer(_wire(await self._registrations.enable(request.path_params["webhook_id"])))

    async def delete(self, request: Request) -> Response:
        endpoint_id: str = request.path_params["webhook_id"]
        await self._registrations.delete(endpoint_id)
        return json_answer({"id": endpoint_id, "type": "webhook_endpoint_deleted"})


def _names(given: list[str]) -> tuple[str, ...]:
    """Return the names that an endpoint asks for, each once. Raises InvalidRequest."""
    limits.check_count("events", given, len(EVENT_NAMES))
    names = tuple(dict.fromkeys(given))
    if not names:
        raise InvalidRequest(f'events: must name at least one event, or be ["{EVERYTHING}"]')
    if EVERYTHING in names and len(names) > 1:
        raise InvalidRequest(f"events: {EVERYTHING} stands alone")
    for index, name in enumerate(given):
        if name != EVERYTHING and name not in EVENT_NAMES:
            raise InvalidRequest(f"events[{index}]: {name[:100]!r} is no event of webhooks; see docs/webhooks.md")
    return names


def _wire(registration: Registration) -> dict[str, Any]:
    disabled_at = registration.disabled_at
    return {
        "id": registration.id,
        "type": "webhook_endpoint",
        "workspace_id": registration.workspace_id,
        "url": registration.url,
        "events": list(registration.events),
        "status": "enabled" if disabled_at is None else "disabled",
        "disabled_at": None if disabled_at is None else rfc3339(disabled_at),
        "disabled_reason": registration.disabled_reason,
        "created_at": rfc3339(registration.created_at),
    }
