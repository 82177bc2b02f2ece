"""Claim: a call of a hand whose result is kept takes 2 ms at most in the harness.

Falsified when the 99th percentile of such calls, input and result as large as they come, takes longer. The plain
equivalent in the same run is the same hand in the same process without the cache: an MCP server object, asked by its
SDK's client. With two hundred calls at a time the kept results also answer as many as arrive together.

Run: ``python -m benchmarks.bench_hand_cache [--calls N]``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import Iterator, Mapping

import uvloop
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations
from rich.console import Console
from rich.table import Table

from agents.clock import SystemClock
from agents.hand_settings import HandDefinition
from agents.hands.deployed.running_hand import RunningHand
from agents.hands.servers.cache import CachedServers
from agents.hands.servers.port import Caller, NoServers, Offer, ServerCall, ServerResult, ToolServer, ToolServers
from agents.hands.servers.settings import HandCacheSettings
from benchmarks.report import verdict
from benchmarks.samples import quantile, ratio_of_medians

MOST_SECONDS = 0.002
HAND = "crm@1.0"
TOGETHER = 200
SIZES = {"small": 200, "large": 90_000}
"""Characters of a result; the largest that a model is shown has 100 000."""
CRM = ToolServer("crm", "hand://crm")
ADA = Caller("sesn_1", "team-a")

Samples = dict[str, list[float]]


class OneHand(NoServers):
    """A hand in this process, as the cache finds hands."""

    def __init__(self, hand: RunningHand) -> None:
        self._hand = hand

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        return Offer(self._hand.tools, HAND)

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        return await self._hand.call(call, caller)


def crm() -> MCPServer:
    server = MCPServer("crm", log_level="ERROR")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True))
    def find(size: int, ids: list[str]) -> str:
        """Find customers."""
        return "x" * size

    return server


def orders(size: int) -> Iterator[ServerCall]:
    """Yield calls that differ only by their id."""
    given = {"size": size, "ids": [f"customer-{number}" for number in range(size // 100)]}
    for number in itertools.count():
        yield ServerCall(f"{size}-{number}", CRM, "find", given, 30.0, HAND)


async def one_by_one(servers: ToolServers, calls: Iterator[ServerCall], count: int) -> list[float]:
    took: list[float] = []
    for call in itertools.islice(calls, count):
        began = time.perf_counter()
        result = await servers.call(call, ADA)
        took.append(time.perf_counter() - began)
        assert result.outcome == "ok"
    return took


async def together(servers: ToolServers, calls: Iterator[ServerCall]) -> float:
    """Return the seconds that so many calls at a time took, each."""
    began = time.perf_counter()
    results = await asyncio.gather(*(servers.call(call, ADA) for call in itertools.islice(calls, TOGETHER)))
    assert all(result.consumption.cached for result in results)
    return (time.perf_counter() - began) / TOGETHER


async def measure(count: int) -> tuple[dict[str, Samples], dict[str, float]]:
    hand = RunningHand(HAND, crm(), HandDefinition(server="bench:crm"))
    await hand.start()
    plain = OneHand(hand)
    kept = CachedServers(plain, HandCacheSettings(ttl_seconds=3600), SystemClock())
    await kept.offer(CRM, ADA)
    found: dict[str, Samples] = {}
    crowd: dict[str, float] = {}
    for name, size in SIZES.items():
        calls = orders(size)
        await one_by_one(kept, calls, 10)
        samples: Samples = {"plain": [], "kept": []}
        for _ in range(10):
            samples["plain"] += await one_by_one(plain, calls, count // 10)
            samples["kept"] += await one_by_one(kept, calls, count // 10)
        found[name], crowd[name] = samples, await together(kept, calls)
    await hand.aclose()
    return found, crowd


def report(found: Mapping[str, Samples], crowd: Mapping[str, float]) -> list[str]:
    """Print a table; returns what was missed."""
    table = Table("result", "way", "p50 ms", "p99 ms", "against plain (95 %)", f"each of {TOGETHER} at a time, ms")
    for size, samples in found.items():
        for way, took in samples.items():
            ratio, low, high = ratio_of_medians(took, samples["plain"])
            table.add_row(
                size,
                way,
                f"{statistics.median(took) * 1000:.3f}",
                f"{quantile(took, 0.99) * 1000:.3f}",
                "" if way == "plain" else f"{ratio:.3f} ({low:.3f}-{high:.3f})",
                "" if way == "plain" else f"{crowd[size] * 1000:.3f}",
            )
    Console(width=120).print(table)
    worst = {size: quantile(samples["kept"], 0.99) for size, samples in found.items()}
    return [
        f"{size}: 99 % of kept results within {seconds * 1000:.2f} ms, not {MOST_SECONDS * 1000:g}"
        for size, seconds in worst.items()
        if seconds > MOST_SECONDS
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure calls of hands whose results are kept.")
    parser.add_argument("--calls", type=int, default=1000)
    options = parser.parse_args()
    found, crowd = uvloop.run(measure(options.calls))
    missed = report(found, crowd)
    for each in missed:
        Console().print(f"[red]missed[/red]: {each}")
    return verdict(Console(), "hand_cache", {"samples": found, "together": crowd}, stands=not missed)


if __name__ == "__main__":
    sys.exit(main())
