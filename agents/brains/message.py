"""From a stream of Messages-API events to the message that the same request has without streaming.

Nothing is left out that the stream has: blocks, deltas and fields that this platform does not know are kept as
they came. :mod:`agents.brains.assembly` is for the agent loop, which wants to know what it works with.
"""

from __future__ import annotations

from typing import Any

import orjson

from agents.brains.port import BrainFailure

_GROWING = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": ""}
"""Kinds of deltas that carry the next piece of a field; of a tool's input, whose JSON is read at its end."""
_BROKEN_INPUT = "INVALID_JSON"
"""What the vendor's documentation has clients put around tool input that is no JSON object."""


class MessageBuilder:
    """Builds one message. Raises BrainFailure when the events break the protocol."""

    def __init__(self) -> None:
        self._message: dict[str, Any] | None = None
        self._parts: dict[tuple[int, str], list[str]] = {}
        self._stopped = False

    def feed(self, event: dict[str, Any]) -> None:
        """Take one event; kinds that it does not know change nothing."""
        try:
            self._feed(event)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise _nonsense(f"malformed {event.get('type')} ({error!r})") from error

    def finish(self) -> dict[str, Any]:
        """Return the message; raises BrainFailure when the stream ended too early."""
        if self._message is None or not self._stopped:
            raise _nonsense("it ended before the answer was complete")
        return self._message

    def _feed(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "message_start":
                self._message = {**event["message"], "content": list(event["message"]["content"])}
            case "content_block_start":
                if event["index"] != len(self._opened["content"]):
                    raise _nonsense(f"block {event['index']} started out of order")
                self._opened["content"].append(dict(event["content_block"]))
            case "content_block_delta":
                self._grow(event["index"], event["delta"])
            case "content_block_stop":
                self._close(event["index"])
            case "message_delta":
                reported: dict[str, Any] = event.get("usage") or {}
                usage = {key: value for key, value in reported.items() if value is not None}
                others = {key: value for key, value in event.items() if key not in ("type", "delta", "usage")}
                self._opened.update(event["delta"], **others)
                self._opened["usage"] = {**(self._opened.get("usage") or {}), **usage}
            case "message_stop":
                self._stopped = True
            case _:
                pass

    @property
    def _opened(self) -> dict[str, Any]:
        if self._message is None or self._stopped:
            raise _nonsense("an event outside of a message")
        return self._message

    def _grow(self, index: int, delta: dict[str, Any]) -> None:
        block = self._opened["content"][index]
        kind: str = delta["type"]
        if kind in _GROWING:
            piece: str = delta[_GROWING[kind] or "partial_json"]
            # Joined at the end: a long text of short pieces would else be copied again and again.
            self._parts.setdefault((index, _GROWING[kind]), []).append(piece)
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta["citation"]]
        else:
            block.update({key: value for key, value in delta.items() if key != "type"})

    def _close(self, index: int) -> None:
        block = self._opened["content"][index]
        for name in filter(None, _GROWING.values()):
            if parts := self._parts.pop((index, name), None):
                block[name] = "".join([block.get(name) or "", *parts])
        written = "".join(self._parts.pop((index, ""), ()))
        if written.strip():
            block["input"] = _input(written)


def _input(written: str) -> dict[str, Any]:
    try:
        read: Any = orjson.loads(written)
    except orjson.JSONDecodeError:
        read = None
    return read if isinstance(read, dict) else {_BROKEN_INPUT: written}  # pyright: ignore[reportUnknownVariableType]


def _nonsense(what: str) -> BrainFailure:
    return BrainFailure("request_failed", f"The model's stream broke the protocol: {what}", transient=True)
