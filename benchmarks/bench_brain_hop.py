"""Claim: on its way through the platform an answer loses next to nothing against asking the model server directly.

Falsified when the first token comes more than 8 ms later (median of single requests), or when 32 concurrent streams
of a model that makes 50 tokens a second for each get fewer than 0.9 of the tokens a second, either as a harness asks
(line, link, replica, engine) or as a client of the gateway's ``/v1/messages`` does (proxy and gateway besides). The
same stub answers all three ways by turns, in one run; direct and gateway are asked with one and the same client, the
one that the ``claude`` engine is made of.

Beside the claim: how far every token is behind the model's clock, what a token costs in CPU, and the same streams
with a model that needs no time at all, where the machine's cores and nothing else bound all three.

Run: ``python -m benchmarks.bench_brain_hop [--requests N] [--rounds N]``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from agents.brains.port import Brain, BrainRequest, closing
from benchmarks.deployment import Deployment, running_platform, running_stub
from benchmarks.processes import PhaseMeter
from benchmarks.report import verdict
from benchmarks.samples import difference_of_medians, quantile

_FIRST_MS = 8.0
_SHARE = 0.9
_MODEL = "claude-opus-4-6"
_STREAMS = 32
_REQUEST_SECONDS = 120.0
_WARM_UPS = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """How the model answers: so many tokens, the first after *first* seconds, then *rate* a second (0: at once)."""

    tokens: int
    first: float = 0.0
    rate: float = 0.0

    def directive(self) -> str:
        """Say so to the stub (``tests.stub_model.rules``)."""
        text = f'stub: text="word " chars={5 * self.tokens} chunks={self.tokens}'
        return text + (f" first={self.first}" if self.first else "") + (f" rate={self.rate}" if self.rate else "")

    def due(self, number: int) -> float:
        """Seconds after which token *number* is made, if asking took no time."""
        return self.first + (number / self.rate if self.rate else 0.0)


ALONE = Pace(tokens=6, first=0.05, rate=100.0)
PACED = Pace(tokens=150, first=0.05, rate=50.0)
FLAT_OUT = Pace(tokens=500)


@dataclass(slots=True)
class Round:
    """Streams that were asked for at one time, one way."""

    seconds: float
    tokens: int
    first: list[float]
    """Seconds until the first token, of each stream."""
    late: list[float]
    """Seconds that each token was behind the model's clock."""
    cpu: dict[str, float]
    """CPU seconds by part, the asking process among them."""


@dataclass(slots=True)
class Measured:
    """All of one phase, by way."""

    rounds: dict[str, list[Round]] = field(default_factory=dict[str, list[Round]])

    def rates(self, way: str) -> list[float]:
        return [each.tokens / each.seconds for each in self.rounds[way]]

    def first(self, way: str) -> list[float]:
        return [second for each in self.rounds[way] for second in each.first]

    def late(self, way: str) -> list[float]:
        return [second for each in self.rounds[way] for second in each.late]

    def micros_per_token(self, way: str) -> dict[str, float]:
        tokens = sum(each.tokens for each in self.rounds[way])
        spent: dict[str, float] = {}
        for each in self.rounds[way]:
            for part, seconds in each.cpu.items():
                spent[part] = spent.get(part, 0.0) + 1e6 * seconds / tokens
        return spent


async def one_stream(brain: Brain, pace: Pace) -> tuple[float, list[float]]:
    """Ask once; returns the seconds until the first token, and how late each token was."""
    content = [{"type": "text", "text": pace.directive()}]
    request = BrainRequest("bench", _MODEL, [{"role": "user", "content": content}], max_tokens=8192)
    clock = time.perf_counter
    started = clock()
    async with asyncio.timeout(_REQUEST_SECONDS), closing(brain.think(request)) as events:
        came = [clock() - started async for event in events if event["type"] == "content_block_delta"]
    if len(came) != pace.tokens:
        raise SystemExit(f"{len(came)} tokens came instead of {pace.tokens}")
    return came[0], [at - pace.due(number) for number, at in enumerate(came)]


async def one_round(brain: Brain, pace: Pace, streams: int, roots: Mapping[str, int]) -> Round:
    meter, own, started = PhaseMeter(dict(roots)), time.process_time(), time.perf_counter()
    got = await asyncio.gather(*(one_stream(brain, pace) for _ in range(streams)))
    seconds, own = time.perf_counter() - started, time.process_time() - own
    cpu = {**meter.end().cpu, "asker": own}
    return Round(
        seconds, streams * pace.tokens, [first for first, _ in got], [at for _, late in got for at in late], cpu
    )


async def by_turns(
    brains: Mapping[str, Brain], pace: Pace, *, streams: int, rounds: int, roots: Mapping[str, int]
) -> Measured:
    """Ask every way once a round, in an order of its own each time, so that a noisy neighbour meets all."""
    dice, measured = random.Random(1), Measured({name: [] for name in brains})
    for _ in range(rounds):
        for name in dice.sample(list(brains), len(brains)):
            measured.rounds[name].append(await one_round(brains[name], pace, streams, roots))
    return measured


async def measure(platform: Deployment, options: argparse.Namespace) -> dict[str, Measured]:
    # Only now: what Ray must be told of the platform's cluster, it reads when it is imported.
    os.environ.update(platform.ray_environment())
    from benchmarks.brain_ways import brain_ways

    roots = {"platform": platform.pid, "stub": platform.stub_pid}
    async with brain_ways(platform) as brains:
        for brain in brains.values():
            await by_turns({"warm-up": brain}, FLAT_OUT, streams=_STREAMS, rounds=_WARM_UPS, roots={})
        alone = await by_turns(brains, ALONE, streams=1, rounds=options.requests, roots={})
        paced = await by_turns(brains, PACED, streams=_STREAMS, rounds=options.rounds, roots=roots)
        flat = await by_turns(brains, FLAT_OUT, streams=_STREAMS, rounds=options.rounds, roots=roots)
    return {"alone": alone, "paced": paced, "flat_out": flat}


def judge(console: Console, results: Mapping[str, Measured]) -> bool:
    """Print the figures; returns whether the claim stands."""
    alone, stands = results["alone"], True
    table = Table("first token, ms", "n", "p50", "p95", "added p50 (95 %)", "every token late, p50")
    for way in alone.rounds:
        first = alone.first(way)
        added, low, high = (1000 * value for value in difference_of_medians(first, alone.first("direct")))
        stands = stands and added <= _FIRST_MS
        table.add_row(
            way,
            str(len(first)),
            f"{1000 * statistics.median(first):.1f}",
            f"{1000 * quantile(first, 0.95):.1f}",
            "" if way == "direct" else f"{added:.1f} ({low:.1f} to {high:.1f}), limit {_FIRST_MS:g}",
            f"{1000 * statistics.median(alone.late(way)):.1f}",
        )
    console.print(table)
    for phase, title in (("paced", "50 tokens/s each"), ("flat_out", "flat out")):
        ratios = _streams(console, results[phase], title)
        stands = stands and (phase != "paced" or min(ratios) >= _SHARE)
    return stands


def _streams(console: Console, measured: Measured, title: str) -> list[float]:
    base = statistics.median(measured.rates("direct"))
    ratios: list[float] = []
    table = Table(
        f"{_STREAMS} streams, {title}", "tokens/s", "of direct", "first p50 ms", "late p50 ms", "CPU us/token"
    )
    for way in measured.rounds:
        rate, cpu = statistics.median(measured.rates(way)), measured.micros_per_token(way)
        ratios.append(rate / base)
        parts = [
            f"{part} {micros:.0f}" for part, micros in sorted(cpu.items(), key=lambda item: -item[1]) if micros >= 1
        ]
        table.add_row(
            way,
            f"{rate:.0f}",
            f"{rate / base:.2f}",
            f"{1000 * statistics.median(measured.first(way)):.1f}",
            f"{1000 * statistics.median(measured.late(way)):.1f}",
            f"{sum(cpu.values()):.0f}: {', '.join(parts)}",
        )
    console.print(table)
    return ratios


def raw(results: Mapping[str, Measured]) -> dict[str, Any]:
    """Every sample, but of the tokens' delays a hundred quantiles: they are many."""
    shares = [number / 100 for number in range(100)]

    def one(each: Round) -> dict[str, Any]:
        late = [quantile(each.late, share) for share in shares] if len(each.late) > len(shares) else each.late
        return {"seconds": each.seconds, "tokens": each.tokens, "first": each.first, "late": late, "cpu": each.cpu}

    return {
        phase: {way: [one(each) for each in rounds] for way, rounds in measured.rounds.items()}
        for phase, measured in results.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_brain_hop")
    parser.add_argument("--requests", type=int, default=100, help="single requests each way")
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds of {_STREAMS} streams each way")
    options = parser.parse_args()
    console = Console(highlight=False, width=140)
    with running_stub() as (stub_url, stub_pid), running_platform(stub_url, stub_pid) as platform:
        results = uvloop.run(measure(platform, options))
    stands = judge(console, results)
    return verdict(console, "brain_hop", raw(results), stands=stands)


if __name__ == "__main__":
    raise SystemExit(main())
