"""``/v1/models``: the brains there are, as models that clients can name (spec A.10).

A brain that is told no model of its own serves whatever model a client names; it is listed as the models of the
price book that it stands for, so that clients which choose from the list find them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anthropic.types.beta import BetaModelInfo
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from agents.api import describe
from agents.api.answers import json_answer
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation
from agents.brain_settings import BrainCapabilities
from agents.brains.registry import RegisteredBrain, aliases_of, registry_of
from agents.errors import InvalidRequest, NotFound
from agents.governance.split import weight_of

MOST, DEFAULT = 1000, 20
_LIFECYCLES = ("active", "deprecated", "retired")
_UNKNOWN_TIME = "1970-01-01T00:00:00Z"
_NO, _YES = {"supported": False}, {"supported": True}


class ModelPage(TypedDict):
    """What a listing is answered with."""

    data: list[BetaModelInfo]
    has_more: bool
    first_id: str | None
    last_id: str | None


class ModelRoutes:
    """List and retrieve."""

    def __init__(self, platform: Platform) -> None:
        self._registry = registry_of(platform.settings)
        self._releases = platform.releases.releases
        self._names = platform.prices.models

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        path, tag = "/v1/models", "models"
        paging = (
            describe.limit(MOST, DEFAULT),
            describe.text("after_id", "Only models behind this one."),
            describe.text("before_id", "Only models before this one."),
            describe.choices("lifecycle", _LIFECYCLES, len(_LIFECYCLES), "Only models at these stages."),
        )
        return [
            Operation("GET", path, self.list, "listModels", tag, ModelPage, parameters=paging),
            Operation("GET", path + "/{model_id}", self.retrieve, "getModel", tag, BetaModelInfo),
        ]

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        stages = query.choices("lifecycle", _LIFECYCLES, most=len(_LIFECYCLES))
        models = [] if stages and "active" not in stages else self._all()
        limit, after, before = query.limit(DEFAULT, MOST), query.text("after_id"), query.text("before_id")
        if after is not None and before is not None:
            raise InvalidRequest("before_id: cannot be combined with after_id")
        ids = [model["id"] for model in models]
        if before is not None:
            found = models[: _place(ids, "before_id", before)]
            page, more = found[-limit:], len(found) > limit
        else:
            found = models if after is None else models[_place(ids, "after_id", after) + 1 :]
            page, more = found[:limit], len(found) > limit
        first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
        return json_answer({"data": page, "has_more": more, "first_id": first, "last_id": last})

    async def retrieve(self, request: Request) -> Response:
        model: str = request.path_params["model_id"]
        self._registry.check(model)
        if self._registry.is_auto(model):
            return json_answer(_entry(model, "Chosen for each request", None))
        brain = self._releases.find(model)
        listed = self._registry.declared and not brain.needs_a_name
        return json_answer(self._of(brain) if listed else _entry(model, model, None))

    def _all(self) -> list[dict[str, Any]]:
        return [entry for brain in self._registry.brains for entry in self._entries(brain)]

    def _entries(self, brain: RegisteredBrain) -> list[dict[str, Any]]:
        if not brain.needs_a_name and self._registry.declared:
            return [self._of(brain)]
        stood_for = [name for name in self._names if self._finds(name) == brain]
        return [_entry(name, name, None) for name in stood_for] or [self._of(brain)]

    def _of(self, brain: RegisteredBrain) -> dict[str, Any]:
        entry = _entry(brain.id, brain.definition.display_name or brain.name, brain.definition.capabilities)
        if self._registry.declared:
            entry["brain"] = self._version(brain)
        return entry

    def _version(self, brain: RegisteredBrain) -> dict[str, Any]:
        """What goes beyond the API: of which brain it is, and which other names lead to it just now."""
        split, version = self._releases.split(brain.name), brain.definition.version
        names = [brain.name, *aliases_of(brain.definition)] if version == split.current else []
        return {"name": brain.name, "version": version, "aliases": names, "weight": weight_of(split, version)}

    def _finds(self, model: str) -> RegisteredBrain | None:
        try:
            return self._registry.find(model)
        except NotFound:
            return None


def _place(ids: Sequence[str], name: str, model: str) -> int:
    if model not in ids:
        raise InvalidRequest(f"{name}: {model[:80]!r} is not in this list")
    return ids.index(model)


def _entry(model: str, name: str, able: BrainCapabilities | None) -> dict[str, Any]:
    """Return one model; what it can do is left open when only its maker knows."""
    return {
        "id": model,
        "type": "model",
        "display_name": name,
        "created_at": _UNKNOWN_TIME,
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": None,
        "max_input_tokens": able and able.context_tokens,
        "max_tokens": able and able.max_output_tokens,
        "capabilities": able and _capabilities(able),
        "allowed_fallback_models": [],
    }


def _capabilities(able: BrainCapabilities) -> dict[str, Any]:
    """What a model on one's own machines has of the vendor's list."""
    thinking = {"supported": able.thinking}
    return {
        "batch": _NO,
        "citations": _NO,
        "code_execution": _NO,
        "compaction": {"supported": False, "summarize": _NO},
        "context_management": {
            "supported": False,
            "clear_thinking_20251015": _NO,
            "clear_tool_uses_20250919": _NO,
            "compact_20260112": _NO,
        },
        "effort": {"supported": False, "low": _NO, "medium": _NO, "high": _NO, "xhigh": _NO, "max": _NO},
        "image_input": {"supported": able.vision},
        "pdf_input": _NO,
        "server_tools": {"supported": False, "code_execution": _NO, "web_search": _NO},
        "structured_outputs": _NO,
        "thinking": {
            **thinking,
            "types": {"adaptive": _NO, "enabled": thinking, "disabled": _YES, "between_tools": _NO},
        },
    }
