"""Golden calls: calls of a hand with what came of them, to be made again on every version that shall be released.

They are JSON lines: ``{"tool": ..., "input": {...}, "expect": {"outcome": "ok", "content": [...]}}``. A text that is a
JSON object or list is recorded as that. A line without ``expect`` is still to be recorded.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.errors import InvalidRequest
from agents.governance.admission import InputRules
from agents.governance.contract import Contract
from agents.governance.matching import check_expectation, differences, type_of
from agents.hands.servers.port import ServerResult

GOLDEN_CALLER = "golden-"
"""How the session begins in whose name golden calls are made: how they go says nothing of how callers are served."""
MAX_CALLS = 500
MAX_BYTES = 4 << 20
_MAX_DIFFERENCES = 5
_P95 = 0.95


class _Expected(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    outcome: Literal["ok", "tool_error"] = "ok"
    content: Any = None


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    tool: str = Field(min_length=1)
    input: dict[str, Any] = Field(default_factory=lambda: {})
    expect: _Expected | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class GoldenCall:
    """One call; ``content`` is what is expected of its result, with matchers; None: anything."""

    tool: str
    input: dict[str, Any]
    outcome: Literal["ok", "tool_error"] | None = None
    """None: not recorded yet."""
    content: Any = None
    name: str = ""

    @property
    def title(self) -> str:
        return self.name or f"{self.tool} {json.dumps(self.input, ensure_ascii=False)}"[:100]

    def line(self) -> str:
        body: dict[str, Any] = {"name": self.name} if self.name else {}
        body |= {"tool": self.tool, "input": self.input}
        if self.outcome is not None:
            body["expect"] = {"outcome": self.outcome, "content": self.content}
        return json.dumps(body, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a golden call; ``faults`` are none when it is what was expected."""

    call: GoldenCall
    seconds: float
    faults: tuple[str, ...] = ()


Ask = Callable[[GoldenCall, int], Awaitable[ServerResult]]
"""Makes a call; the number tells calls of one run apart. A failure on the way is a result, too."""


def parse_golden(text: str, source: str) -> Sequence[GoldenCall]:
    """Return the calls of a file. Raises InvalidRequest naming the line."""
    if len(text.encode()) > MAX_BYTES:
        raise InvalidRequest(f"{source}: is longer than {MAX_BYTES} bytes")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if len(lines) > MAX_CALLS:
        raise InvalidRequest(f"{source}: has {len(lines)} calls; at most {MAX_CALLS} are replayed")
    return [_parse_line(line, f"{source}, line {number}") for number, line in lines]


def _parse_line(text: str, where: str) -> GoldenCall:
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidRequest(f"{where}: {field or 'call'}: {first['msg']}") from error
    if line.expect is None:
        return GoldenCall(line.tool, line.input, name=line.name)
    try:
        check_expectation(line.expect.content)
    except ValueError as error:
        raise InvalidRequest(f"{where}: expect.content: {error}") from error
    return GoldenCall(line.tool, line.input, line.expect.outcome, line.expect.content, line.name)


def content_of(result: ServerResult) -> list[Any]:
    """Return the content of a result as it is compared: text as itself, or as the JSON that it is."""
    return [_plain(block["text"]) if block["type"] == "text" else block for block in result.content]


def _plain(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


async def replay(calls: Iterable[GoldenCall], ask: Ask, contract: Contract | None) -> Sequence[Replayed]:
    """Make the calls, one after the other, and hold what comes against what was expected and against the contract."""
    rules = InputRules()
    return [await _replay(number, call, ask, contract, rules) for number, call in enumerate(calls)]


async def _replay(number: int, call: GoldenCall, ask: Ask, contract: Contract | None, rules: InputRules) -> Replayed:
    # What the contract refuses never reaches the hand when it is called for good, either.
    fault = None if contract is None else rules.fault(contract, call.tool, call.input)
    if fault is not None:
        return Replayed(call, 0.0, (fault,))
    began = time.monotonic()
    result = await ask(call, number)
    seconds = time.monotonic() - began
    return Replayed(call, seconds, tuple(_faults(call, result, contract))[:_MAX_DIFFERENCES])


def _faults(call: GoldenCall, result: ServerResult, contract: Contract | None) -> Iterable[str]:
    content, expected = content_of(result), call.outcome or "ok"
    if result.outcome != expected:
        yield f"outcome: is {result.outcome}, not {expected}: {json.dumps(content, ensure_ascii=False)[:200]}"
        return
    if call.content is not None:
        yield from differences(call.content, content, "content")
    if contract is not None and result.consumption.bytes_out > contract.limits.output_bytes:
        most = contract.limits.output_bytes
        yield f"the result has {result.consumption.bytes_out} bytes, and the contract allows {most}"


def too_slow(replayed: Sequence[Replayed], contract: Contract) -> str | None:
    """Return that the golden calls were slower than the contract promises; None when they were not."""
    seconds = sorted(each.seconds for each in replayed if each.seconds)
    if not seconds:
        return None
    p95 = seconds[math.ceil(len(seconds) * _P95) - 1]
    if p95 <= contract.sla.p95_seconds:
        return None
    return f"95 of 100 golden calls took up to {p95:.3g} s, and the contract promises {contract.sla.p95_seconds:g} s"


async def recorded(calls: Iterable[GoldenCall], ask: Ask, contract: Contract | None) -> Sequence[GoldenCall]:
    """Return the calls with what comes of them now; those that have an expectation keep it.

    What a tool that may be repeated says differently the second time is expected to be of its type only.
    """
    found: list[GoldenCall] = []
    for number, call in enumerate(calls):
        if call.outcome is not None:
            found.append(call)
            continue
        result = await ask(call, 2 * number)
        content: Any = content_of(result)
        if contract is not None and call.tool in contract.tools and contract.tools[call.tool].repeatable:
            content = _steady(content, content_of(await ask(call, 2 * number + 1)))
        outcome = "ok" if result.outcome == "ok" else "tool_error"
        found.append(replace(call, outcome=outcome, content=content))
    return found


def _steady(first: Any, second: Any) -> Any:
    """Return an expectation that takes both of two values."""
    if first == second:
        return first
    if isinstance(first, dict) and isinstance(second, dict):
        one, other = cast("dict[str, Any]", first), cast("dict[str, Any]", second)
        if one.keys() == other.keys():
            return {name: _steady(value, other[name]) for name, value in one.items()}
    if isinstance(first, list) and isinstance(second, list):
        entries, others = cast("list[Any]", first), cast("list[Any]", second)
        if len(entries) == len(others):
            return [_steady(*pair) for pair in zip(entries, others, strict=True)]
    kinds = {type_of(first), type_of(second)}
    if kinds == {"integer", "number"}:
        return {"$type": "number"}
    return {"$type": kinds.pop()} if len(kinds) == 1 else {"$any": True}
