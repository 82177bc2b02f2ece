"""The body of a Messages-API request: checked by the SDK's own types, and read for the brains that need it read.

The types are those of the SDK's beta resource, which hold everything that the plain one has. A brain behind a
Messages-API server gets the body itself; the others understand messages, system prompt, tools and limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from anthropic.types.beta.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.beta.message_create_params import MessageCreateParamsBase

from agents.brains.port import BrainRequest
from agents.brains.registry import RegisteredBrain
from agents.catalog.limits import MODEL_ID_CHARS, check_length
from agents.errors import InvalidRequest

MAX_BETAS = 50
"""Ours: the vendor's own list has half as many."""
_BETA = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAX_HINT = 256


class MessageParams(MessageCreateParamsBase, total=False):
    """What ``POST /v1/messages`` takes."""

    stream: bool
    # The SDK no longer has these three. Its earlier releases, other clients and most inference servers do.
    temperature: float
    top_k: int
    top_p: float


class CountParams(MessageCountTokensParams, total=False):
    """What ``POST /v1/messages/count_tokens`` takes."""


def read_betas(header: str | None) -> tuple[str, ...]:
    """Return the features that an ``anthropic-beta`` header names. Raises InvalidRequest."""
    names = [name.strip() for name in (header or "").split(",") if name.strip()]
    if len(names) > MAX_BETAS or not all(map(_BETA.fullmatch, names)):
        raise InvalidRequest(f"anthropic-beta: must be at most {MAX_BETAS} names, joined by commas")
    return tuple(names)


def brain_request(
    params: Mapping[str, Any], *, principal: str, fallback_hint: str, betas: tuple[str, ...], live: bool
) -> BrainRequest:
    """Return what a brain is asked. *fallback_hint* stands for the conversation when the client names none."""
    output: dict[str, Any] = params.get("output_config") or {}
    metadata: dict[str, Any] = params.get("metadata") or {}
    return BrainRequest(
        session_id=(metadata.get("user_id") or fallback_hint)[:_MAX_HINT],
        model=params["model"],
        messages=params["messages"],
        system=_text(params.get("system")),
        tools=params.get("tools") or [],
        max_tokens=params.get("max_tokens", 1),
        effort=output.get("effort"),
        speed=params.get("speed"),
        inference_geo=params.get("inference_geo"),
        principal=principal,
        live=live,
        body=dict(params),
        betas=betas,
    )


def check_bounds(params: Mapping[str, Any], brain: RegisteredBrain | None) -> None:
    """Raise InvalidRequest for a request that no model could answer, or not *brain*, if it is known already."""
    check_length("model", params["model"], MODEL_ID_CHARS, shortest=1)
    if params.get("thread") is not None:
        # A brain that ignored it would answer the next request without what was said before.
        words = "thread: no conversation is held between requests; send all of its messages"
        raise InvalidRequest(words, error_code="thread_unsupported_request")
    if not params["messages"]:
        raise InvalidRequest("messages: must have at least one message")
    most_tokens: int | None = params.get("max_tokens")
    # The server behind a claude engine knows its models' bounds better; 0 tells it to fill its cache only.
    judged_there = brain is not None and brain.definition.engine == "claude"
    if most_tokens is None:
        return
    if most_tokens < (0 if judged_there else 1):
        raise InvalidRequest(f"max_tokens: must be at least 1, not {most_tokens}")
    if brain is None or judged_there:
        return
    bound = brain.definition.capabilities.max_output_tokens
    if most_tokens > bound:
        raise InvalidRequest(f"max_tokens: {brain.id} writes at most {bound} tokens, not {most_tokens}")


def _text(system: str | list[dict[str, Any]] | None) -> str | None:
    if isinstance(system, list):
        return "\n\n".join(cast("str", block["text"]) for block in system) or None
    return system or None
