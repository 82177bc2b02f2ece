"""What a contract lets be asked of a hand just now: how often, how many at a time, how much, and in which form.

One process enforces its part: a limit divided by the processes that share the hand's callers.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from agents.clock import Clock
from agents.errors import Overloaded
from agents.governance.contract import Contract
from agents.governance.schemas import faults, validator_of

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_MINUTE = 60.0
_BUSY_SECONDS = 1.0


@dataclass(slots=True)
class _Standing:
    """The calls of one version in this process: a bucket of a minute's worth that refills evenly."""

    tokens: float
    at: float
    running: int = 0


class InputRules:
    """What contracts say of the inputs of tools; what checks them is made once."""

    def __init__(self) -> None:
        self._validators: dict[tuple[str, str], Validator] = {}

    def fault(self, contract: Contract, tool: str, given: Mapping[str, Any]) -> str | None:
        """Return what of a call's input breaks the contract, in words that a model can act on; None: nothing does."""
        if tool not in contract.tools:
            return f"the contract of {contract.id} has no tool {tool[:100]!r}; there are: {', '.join(contract.tools)}"
        size, most = len(orjson.dumps(given)), contract.limits.input_bytes
        if size > most:
            return f"the input has {size} bytes, and the contract of {contract.id} takes {most} (limits.input_bytes)"
        key = contract.id, tool
        if key not in self._validators:
            self._validators[key] = validator_of(contract.tools[tool].input)
        found = faults(self._validators[key], given)
        return f"{tool}: {'; '.join(found)}" if found else None


class Admission:
    """The limits of contracts, held against the calls of one process."""

    def __init__(self, clock: Clock, *, processes: int = 1) -> None:
        """*processes* share the limits evenly."""
        self._clock = clock
        self._processes = processes
        self._standings: dict[str, _Standing] = {}

    @contextmanager
    def admitted(self, contract: Contract, *, again: bool = False) -> Generator[None]:
        """Hold a place for one call; a call that was admitted before (*again*) is not counted once more.

        Raises Overloaded, which says when to come back.
        """
        standing = self._standing(contract)
        if not again:
            self._take(contract, standing)
        standing.running += 1
        try:
            yield
        finally:
            standing.running -= 1

    def _standing(self, contract: Contract) -> _Standing:
        now, per_minute = self._clock.monotonic(), self._part(contract.limits.calls_per_minute)
        standing = self._standings.setdefault(contract.id, _Standing(per_minute, now))
        standing.tokens = min(per_minute, standing.tokens + (now - standing.at) * per_minute / _MINUTE)
        standing.at = now
        return standing

    def _part(self, limit: int) -> float:
        # A limit below the number of processes still lets each of them call.
        return max(1.0, limit / self._processes)

    def _take(self, contract: Contract, standing: _Standing) -> None:
        limits = contract.limits
        if standing.running + 1 > self._part(limits.concurrent_calls):
            raise Overloaded(
                f"hand {contract.id}: {limits.concurrent_calls} calls run or wait already, and its contract allows no"
                " more at a time (limits.concurrent_calls)",
                retry_after=_BUSY_SECONDS,
            )
        if standing.tokens < 1:
            seconds = (1 - standing.tokens) * _MINUTE / self._part(limits.calls_per_minute)
            raise Overloaded(
                f"hand {contract.id}: its contract allows {limits.calls_per_minute} calls per minute"
                " (limits.calls_per_minute)",
                retry_after=round(seconds, 3),
            )
        standing.tokens -= 1


def output_fault(contract: Contract, size: int) -> str | None:
    """Return that a result of *size* bytes breaks the contract; None when it does not."""
    if size <= contract.limits.output_bytes:
        return None
    return (
        f"the tool was run, and its result is not shown: it has {size} bytes, and the contract of {contract.id}"
        f" allows {contract.limits.output_bytes}"
    )
