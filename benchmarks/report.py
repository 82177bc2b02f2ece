"""The tables of a run."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.processes import Phase
from benchmarks.samples import quantile, ratio_of_medians

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


def ready(seconds: float) -> None:
    console.print(f"hecaton up: ready in {seconds:.1f} s (target 25)")


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
    columns = (*(f"at {row['concurrency']}" for row in measured), "idle, ms/s")
    table = _table("CPU per one-tool session, ms", "part", *columns)
    last = measured[-1]["cpu"]
    resting = {part: 1000 * seconds / idle.seconds for part, seconds in idle.cpu.items()}
    for part in sorted(last, key=lambda part: -last[part]):
        spent = [1000 * row["cpu"].get(part, 0.0) / len(row["seconds"]) for row in measured]
        if max(spent) >= 0.05:
            table.add_row(part, *(f"{value:.2f}" for value in spent), f"{resting.get(part, 0.0):.1f}")
    sums = [1000 * sum(row["cpu"].values()) / len(row["seconds"]) for row in measured]
    table.add_section()
    table.add_row("sum", *(f"{value:.2f}" for value in sums), f"{sum(resting.values()):.1f}")
    table.add_row("sessions/s if 2 cores did nothing else", *(f"{2000 / value:.0f}" for value in sums), "")
    console.print(table)


def threads(spent: dict[str, Counter[str]], sessions: int) -> None:
    table = _table("CPU per one-tool session by thread, ms", "part", "threads")
    for part, names in spent.items():
        parts = [f"{name} {1000 * seconds / sessions:.2f}" for name, seconds in names.most_common(8)]
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


def written(file: Path, load_average: tuple[float, float, float]) -> None:
    console.print(f"raw samples: {file}; load average at the end {load_average[0]:.1f}")
