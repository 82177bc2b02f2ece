"""``/v1/messages``: every brain by itself, for any client of the Messages API; and its count of tokens."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from anthropic.types.beta import BetaMessage, BetaMessageTokensCount
from starlette.requests import Request
from starlette.responses import Response

from agents.api.answers import error_answer, json_answer
from agents.api.message_params import CountParams, MessageParams, brain_request, check_bounds, read_betas
from agents.api.message_stream import MessageStream
from agents.api.message_telemetry import MessageTelemetry
from agents.api.model_answer import ModelAnswer
from agents.api.model_failures import api_error
from agents.api.param_schema import validator
from agents.api.platform import Platform
from agents.api.request_trace import asking
from agents.api.routes import Operation
from agents.api.wire import parse, read_json
from agents.brains.port import BrainFailure, BrainRequest
from agents.brains.registry import RegisteredBrain, registry_of

_log = logging.getLogger(__name__)


class MessageRoutes:
    """Create a message, and count tokens. The edge stops the work for a client that leaves before its answer."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._registry = registry_of(platform.settings)
        self._releases = platform.releases.releases
        # The largest schemas of all: made now, so that no request waits for them.
        for params in (MessageParams, CountParams):
            validator(params)

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        path, tag = "/v1/messages", "messages"
        count, counted = f"{path}/count_tokens", BetaMessageTokensCount
        return [
            Operation(
                "POST",
                path,
                self.create,
                "createMessage",
                tag,
                BetaMessage,
                body=MessageParams,
                statuses=[500],
                streams=True,
            ),
            Operation("POST", count, self.count, "countTokens", tag, counted, body=CountParams, statuses=[500]),
        ]

    async def create(self, request: Request) -> Response:
        params = parse(MessageParams, await read_json(request))
        check_bounds(params, self._named(params["model"]))
        asked = self._asked(request, params, live=params.get("stream", False))
        request_id: str = request.state.request_id
        telemetry = MessageTelemetry(self._platform, asked, asking(self._platform.spans, request))
        answer = ModelAnswer(self._platform, self._registry, asked, request_id, telemetry)
        if asked.live:
            keepalive = self._platform.settings.gateway.stream_keepalive_seconds
            return MessageStream(answer, keepalive_seconds=keepalive, request_id=request_id)
        try:
            message = await answer.message()
        except BrainFailure as failure:
            return _failed(failure, request_id)
        return json_answer(message, headers={"x-hecaton-brain": answer.brain})

    async def count(self, request: Request) -> Response:
        params = parse(CountParams, await read_json(request))
        brain = self._named(params["model"]) or self._releases.current(self._registry.choosable[0])
        check_bounds(params, brain)
        asked = self._asked(request, params, live=False)
        try:
            tokens = await self._platform.counters.count_tokens(brain.id, asked)
        except BrainFailure as failure:
            return _failed(failure, request.state.request_id)
        return json_answer({"input_tokens": tokens}, headers={"x-hecaton-brain": brain.id})

    def _named(self, model: str) -> RegisteredBrain | None:
        """Return the brain that *model* names, None when the policy chooses it. Raises NotFound."""
        self._registry.check(model)
        return None if self._registry.is_auto(model) else self._releases.find(model)

    def _asked(self, request: Request, params: Mapping[str, Any], *, live: bool) -> BrainRequest:
        return brain_request(
            params,
            principal=request.state.principal,
            fallback_hint=request.state.request_id,
            betas=read_betas(request.headers.get("anthropic-beta")),
            live=live,
        )


def _failed(failure: BrainFailure, request_id: str) -> Response:
    _log.warning("model request %s failed (%s): %s", request_id, failure.kind, failure.message)
    return error_answer(api_error(failure), request_id)
