"""Rules for the events that clients send, checked before anything is stored (spec B.1).

Only what an event says by itself is judged here; whether it fits the session's state (an answer to an
open call, a queue with room) is for the session's owner.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from anthropic.types.beta.sessions import EventSendParams

from agents.catalog import limits
from agents.errors import InvalidRequest, PermissionDenied
from agents.ids import new_event_id, new_outcome_id
from agents.media import IMAGES

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")
_URL = re.compile(r"https?://[^\s/]\S*")
_MAX_URL_CHARS = 2048
_MAX_ID_CHARS = 256

_INITIAL_TYPES = ("user.message", "user.define_outcome")
_SYSTEM = "system.message"
_SYSTEM_BLOCKS = 1000  # spec A.12
_RESULT_TYPES = ("user.custom_tool_result", "user.tool_result")
_ACCOMPANIED = (*_INITIAL_TYPES, *_RESULT_TYPES)
"""What a system message may follow in its request."""


def checked_events(params: EventSendParams) -> list[dict[str, Any]]:
    """Return the events of a send request, each with an ``id``. Raises InvalidRequest naming the first fault."""
    events = cast("list[dict[str, Any]]", params["events"])
    if not events:
        raise InvalidRequest("events: must have at least one event")
    limits.check_count("events", events, limits.EVENTS_PER_SEND)
    for index, event in enumerate(events):
        _check_event(f"events[{index}]", event)
    _check_place_of_system("events", events)
    return _identified(events)


def check_workers_events(events: Sequence[Mapping[str, Any]]) -> None:
    """Raise PermissionDenied for what a worker may not send: it answers calls, it never confirms its own."""
    for index, event in enumerate(events):
        if event["type"] not in _RESULT_TYPES:
            raise PermissionDenied(
                f"events[{index}].type: a worker's credential sends {' or '.join(_RESULT_TYPES)} only"
            )


def checked_initial_events(
    events: Sequence[Mapping[str, Any]], types: Sequence[str] = _INITIAL_TYPES
) -> list[dict[str, Any]]:
    """Return the events that a session starts with, of these *types*, each with an ``id``. Raises InvalidRequest."""
    limits.check_count("initial_events", events, limits.INITIAL_EVENTS)
    for index, event in enumerate(events):
        if event["type"] not in types:
            raise InvalidRequest(f"initial_events[{index}].type: must be one of {', '.join(types)}")
        _check_event(f"initial_events[{index}]", event)
    _check_place_of_system("initial_events", events)
    if sum(event["type"] == "user.define_outcome" for event in events) > 1:
        raise InvalidRequest("initial_events: at most one user.define_outcome, as a session has one outcome at a time")
    return _identified(events)


def _identified(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    # Named here and not by the owner: when an owner is lost before it answers, the next one knows them again.
    return [{**_completed(event), "id": new_event_id()} for event in events]


def _completed(event: Mapping[str, Any]) -> Mapping[str, Any]:
    if event["type"] != "user.define_outcome":
        return event
    most = event.get("max_iterations") or limits.OUTCOME_DEFAULT_ITERATIONS
    return {**event, "max_iterations": most, "outcome_id": new_outcome_id()}


def _check_event(where: str, event: Mapping[str, Any]) -> None:
    kind = event["type"]
    if kind == "user.define_outcome":
        _check_outcome(where, event)
    if kind == "user.message":
        _check_message(where, event["content"])
    elif kind == _SYSTEM:
        limits.check_count(f"{where}.content", event["content"], _SYSTEM_BLOCKS)
        _check_message(where, event["content"])
    elif kind == "user.tool_confirmation":
        _check_confirmation(where, event)
    elif kind in _RESULT_TYPES:
        _check_blocks(f"{where}.content", event.get("content") or (), blank_text=True)


def _check_place_of_system(where: str, events: Sequence[Mapping[str, Any]]) -> None:
    """Raise InvalidRequest for a system message that is not the last event, or follows what it cannot go with."""
    for index, event in enumerate(events):
        if event["type"] != _SYSTEM:
            continue
        if index + 1 < len(events):
            raise InvalidRequest(
                f"{where}[{index}].type: {_SYSTEM} must be the last event, and the only one of its type"
            )
        if index and events[index - 1]["type"] not in _ACCOMPANIED:
            raise InvalidRequest(
                f"{where}[{index}].type: {_SYSTEM} must stand alone, or directly after one of {', '.join(_ACCOMPANIED)}"
            )


def _check_message(where: str, content: Sequence[Mapping[str, Any]]) -> None:
    if not content:
        raise InvalidRequest(f"{where}.content: must have at least one block")
    _check_blocks(f"{where}.content", content, blank_text=False)


def _check_outcome(where: str, event: Mapping[str, Any]) -> None:
    if not event["description"].strip():
        raise InvalidRequest(f"{where}.description: must not be blank")
    limits.check_length(f"{where}.description", event["description"], limits.OUTCOME_DESCRIPTION_CHARS)
    most = event.get("max_iterations")
    if most is not None and not 1 <= most <= limits.OUTCOME_ITERATIONS:
        raise InvalidRequest(f"{where}.max_iterations: must be from 1 to {limits.OUTCOME_ITERATIONS}, not {most}")
    rubric = event["rubric"]
    if rubric["type"] == "text":
        check_rubric_text(f"{where}.rubric.content", rubric["content"])


def check_rubric_text(where: str, text: str) -> None:
    """Raise InvalidRequest for a text that is no rubric."""
    if not text.strip():
        raise InvalidRequest(f"{where}: must not be blank")
    limits.check_length(where, text, limits.RUBRIC_CHARS)


def _check_confirmation(where: str, event: Mapping[str, Any]) -> None:
    if event["result"] == "allow" and event.get("deny_message") is not None:
        raise InvalidRequest(f"{where}.deny_message: is only for result deny")


def _check_blocks(where: str, content: Sequence[Mapping[str, Any]], *, blank_text: bool) -> None:
    for index, block in enumerate(content):
        at, kind = f"{where}[{index}]", block["type"]
        if kind == "redacted":
            raise InvalidRequest(f"{at}.type: redacted blocks are written by the server only")
        if kind == "text" and not blank_text and not block["text"].strip():
            raise InvalidRequest(f"{at}.text: must not be blank")
        if kind in ("image", "document"):
            source = block["source"]
            _SOURCES[source["type"]](f"{at}.source", source, kind)


def _check_base64(where: str, source: Mapping[str, Any], kind: str) -> None:
    media_type: str = source["media_type"]
    if kind == "image" and media_type not in IMAGES:
        raise InvalidRequest(f"{where}.media_type: must be one of {', '.join(IMAGES)}, not {media_type[:60]!r}")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidRequest(f"{where}.media_type: must be a media type such as application/pdf")
    if not source["data"]:
        raise InvalidRequest(f"{where}.data: must not be empty")
    try:
        base64.b64decode(source["data"], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"{where}.data: is not valid base64") from None


def _check_text(where: str, source: Mapping[str, Any], kind: str) -> None:
    del kind
    if not source["data"].strip():
        raise InvalidRequest(f"{where}.data: must not be blank")


def _check_url(where: str, source: Mapping[str, Any], kind: str) -> None:
    del kind
    if len(source["url"]) > _MAX_URL_CHARS or not _URL.fullmatch(source["url"]):
        raise InvalidRequest(f"{where}.url: must be an http or https URL of at most {_MAX_URL_CHARS} characters")


def _check_file(where: str, source: Mapping[str, Any], kind: str) -> None:
    del kind  # whether there is such a file, and of what kind, ``agents.files.references`` says
    limits.check_length(f"{where}.file_id", source["file_id"], _MAX_ID_CHARS, shortest=1)


_SOURCES: dict[str, Callable[[str, Mapping[str, Any], str], None]] = {
    "base64": _check_base64,
    "text": _check_text,
    "url": _check_url,
    "file": _check_file,
}
