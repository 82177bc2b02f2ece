"""The tables of a run."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.memory import Footprint
from benchmarks.processes import Phase
from benchmarks.samples import quantile, ratio_of_medians, slope, write_results
from benchmarks.targets import TARGETS

console = Console(width=None if os.isatty(1) else 140)


def _table(title: str, *columns: str) -> Table:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    table = Table(title=f"{title}  (load average {load})", title_justify="left")
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def verdict(to: Console, name: str, results: dict[str, Any], *, stands: bool) -> int:
    """Write a benchmark's *results*, and say where they are and whether its claim *stands*; returns the exit status."""
    to.print(f"[dim]{write_results(name, results)}[/dim]")
    to.print("the claim stands" if stands else "[red]the claim is falsified[/red]")
    return 0 if stands else 1


def rest(seconds: float, resting: Footprint) -> None:
    console.print(
        f"hecaton up: ready in {seconds:.1f} s; at rest {resting.total / 1e6:.0f} MB (PSS)"
        f" in {resting.counts['processes']} processes"
    )


def turns(samples: dict[str, dict[str, list[float]]]) -> None:
    table = _table("Overhead of a turn, ms", "turn", "n", "platform p50", "p95", "floor p50", "p95", "ratio p50 (95 %)")
    for name, measured in samples.items():
        over, under = measured["platform"], measured["floor"]
        ratio, low, high = ratio_of_medians(over, under)
        table.add_row(
            name,
            str(len(over)),
            _ms(statistics.median(over)),
            _ms(quantile(over, 0.95)),
            _ms(statistics.median(under)),
            _ms(quantile(under, 0.95)),
            f"{ratio:.1f} ({low:.1f}-{high:.1f})",
        )
    console.print(table)


def stages(found: list[dict[str, float]]) -> None:
    table = _table("Stages of a one-tool turn, ms", "stage", "p50", "p95")
    for name in found[0]:
        values = [turn[name] for turn in found]
        table.add_row(name, _ms(statistics.median(values)), _ms(quantile(values, 0.95)))
    console.print(table)


def load(measured: list[dict[str, Any]]) -> None:
    columns = ("concurrency", "n", "sessions/s", "p50 ms", "p95 ms", "floor/s", "ratio", "others' CPU s/s", "load1")
    table = _table("Fresh one-tool sessions", *columns)
    for row in measured:
        floor = len(row["floor"]["seconds"]) / row["floor"]["elapsed"]
        rate = len(row["seconds"]) / row["elapsed"]
        table.add_row(
            str(row["concurrency"]),
            str(len(row["seconds"])),
            f"{rate:.1f}",
            _ms(statistics.median(row["seconds"])),
            _ms(quantile(row["seconds"], 0.95)),
            f"{floor:.1f}",
            f"{floor / rate:.1f}",
            f"{row['others_cpu'] / row['phase_seconds']:.2f}",
            f"{row['load1']:.1f}",
        )
    console.print(table)


def cpu(measured: list[dict[str, Any]], idle: Phase) -> None:
    columns = (*(f"at {row['concurrency']}" for row in measured), "floor", "idle, ms/s")
    table = _table("CPU per one-tool session, ms", "part", *columns)
    last = measured[-1]["cpu"]
    sessions = len(measured[-1]["floor"]["seconds"])
    floor = {part: 1000 * seconds / sessions for part, seconds in measured[-1]["floor"]["cpu"].items()}
    for part in floor:
        last.setdefault(part, 0.0)
    resting = {part: 1000 * seconds / idle.seconds for part, seconds in idle.cpu.items()}
    for part in sorted(last, key=lambda part: -last[part]):
        spent = [1000 * row["cpu"].get(part, 0.0) / len(row["seconds"]) for row in measured]
        if max(*spent, floor.get(part, 0.0)) >= 0.05:
            table.add_row(
                part, *(f"{value:.2f}" for value in spent), _or_blank(floor.get(part)), f"{resting.get(part, 0.0):.1f}"
            )
    sums = [1000 * sum(row["cpu"].values()) / len(row["seconds"]) for row in measured]
    table.add_section()
    spent_by_floor = sum(floor.values())
    table.add_row("sum", *(f"{value:.2f}" for value in [*sums, spent_by_floor]), f"{sum(resting.values()):.1f}")
    rates = (f"{2000 / value:.0f}" for value in [*sums, spent_by_floor])
    table.add_row("sessions/s if 2 cores did nothing else", *rates, "")
    console.print(table)


def _or_blank(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def threads(spent: dict[str, Counter[str]], sessions: int) -> None:
    table = _table("CPU per one-tool session by thread, ms", "part", "threads")
    for part, names in spent.items():
        parts = [f"{name} {micros / sessions / 1000:.2f}" for name, micros in names.most_common(8)]
        table.add_row(part, "  ".join(parts))
    console.print(table)


def tool_spans(events: list[dict[str, Any]]) -> list[float]:
    """Seconds from the model's answer to the last tool result, of each turn."""
    spans: list[float] = []
    began = last = None
    for event in events:
        if event["type"] == "agent.tool_use":
            began = began or datetime.fromisoformat(event["processed_at"])
        elif event["type"] == "agent.tool_result":
            last = datetime.fromisoformat(event["processed_at"])
        elif event["type"] == "session.thread_status_idle" and began and last:
            spans.append((last - began).total_seconds())
            began = last = None
    return spans


def parallel(spans: list[float]) -> None:
    console.print(
        f"four parallel `sleep 0.2`: p50 {statistics.median(spans):.3f} s, worst {max(spans):.3f} s of {len(spans)}"
        " (target 0.35)"
    )


def memory(name: str, measured: dict[str, Any]) -> None:
    before, during, after = (measured[moment] for moment in ("before", "during", "after"))
    count = during["sessions"]
    table = _table(f"Memory (PSS), {name}, MB", "part", "at rest", f"{count} live", "per 100 live", "streams closed")
    rows = {**before["pss"], **during["pss"]}
    for part in sorted(rows, key=lambda part: -rows[part]):
        values = [moment["pss"].get(part, 0) / 1e6 for moment in (before, during, after)]
        _memory_row(table, part, values, count)
    table.add_section()
    _memory_row(table, "sum", [sum(moment["pss"].values()) / 1e6 for moment in (before, during, after)], count)
    for key in before["counts"]:
        table.add_row(
            key.replace("_", " "), *(str(m["counts"][key]) for m in (before, during)), "", str(after["counts"][key])
        )
    console.print(table)


def _memory_row(table: Table, part: str, values: list[float], count: int) -> None:
    before, during, after = values
    table.add_row(part, f"{before:.1f}", f"{during:.1f}", f"{(during - before) * 100 / count:.1f}", f"{after:.1f}")


def leak(points: list[Footprint], rest: list[Footprint]) -> None:
    """Slopes over what follows the warm-up: caches hold 512 sessions, so the first 2/5 of 2000 fill them."""
    steady = points[2 * len(points) // 5 :]
    began, ended = steady[0], steady[-1]
    columns = ("part", "first MB", "last MB", "KB per session (95 %)", "KB/s", "KB/s at rest after")
    table = _table(f"Leak check: memory that no file backs, sessions {began.sessions} to {ended.sessions}", *columns)

    def row(name: str, value: Callable[[Footprint], float]) -> None:
        rise, error = slope([(point.sessions, value(point)) for point in steady])
        drift = (value(rest[-1]) - value(rest[0])) / (rest[-1].at - rest[0].at)
        grown = (value(ended) - value(began)) / (ended.at - began.at)
        table.add_row(
            name,
            f"{value(began) / 1e6:.1f}",
            f"{value(ended) / 1e6:.1f}",
            f"{rise / 1000:+.2f} ± {error / 1000:.2f}",
            f"{grown / 1000:+.1f}",
            f"{drift / 1000:+.1f}",
        )

    for part in sorted(ended.unbacked, key=lambda part: -ended.unbacked[part]):
        row(part, lambda point, part=part: point.unbacked.get(part, 0))
    table.add_section()
    row("sum", lambda point: sum(point.unbacked.values()))
    for key in began.counts:
        rise, error = slope([(point.sessions, point.counts[key]) for point in steady])
        change = f"{1000 * rise:+.1f} ± {1000 * error:.1f} per 1000"
        table.add_row(key.replace("_", " "), str(began.counts[key]), str(ended.counts[key]), change)
    console.print(table)


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def targets(results: dict[str, Any]) -> None:
    table = _table("Targets", "target", "measured", "limit", "")
    for target in TARGETS:
        value = target.read(results)
        if value is not None:
            limit = f"{'>=' if target.at_least else '<='} {target.limit:g} {target.unit}"
            verdict = "[green]met" if target.met(value) else "[red]missed"
            table.add_row(target.name, f"{value:.2f}", limit, verdict)
    console.print(table)


def written(file: Path, load_average: tuple[float, float, float]) -> None:
    console.print(f"raw samples: {file}; load average at the end {load_average[0]:.1f}")
