"""``hecaton traces``: what the trace store of this machine has, as tables, waterfalls, JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.failures import CommandFailed
from agents.commands.metering import Output
from agents.commands.timeline import printable
from agents.telemetry.tracing import names
from agents.telemetry.tracing.trace_query import query_spans, session_spans
from agents.telemetry.tracing.waterfall import Bar, Waterfall, waterfalls

_COLORS = {"chat": "cyan", "execute_tool": "yellow", "append": "blue", "session.status": "magenta", "POST": "green"}
_BAR = 40


def print_query(console: Console, folder: Path, sql: str, output: Output) -> None:
    """Print the answer to *sql*. Raises BadQuery."""
    answer = query_spans(folder, sql)
    if output is Output.JSON:
        print_json(console, [_plain(record) for record in answer.records()])
        return
    if output is Output.CSV:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(answer.columns)
        writer.writerows([_plain(value) for value in row] for row in answer.rows)
        console.print(text.getvalue(), end="", markup=False, soft_wrap=True)
        return
    table = Table(box=None, header_style="bold")
    for column in answer.columns:
        table.add_column(column, overflow="fold")
    for row in answer.rows:
        table.add_row(*(Text("" if value is None else printable(str(_plain(value)))) for value in row))
    console.print(table)
    console.print(f"{len(answer.rows)} rows", style="dim")


def show_session(console: Console, folder: Path, session_id: str, *, last: int, as_json: bool) -> None:
    """Print the newest traces of a session. Raises CommandFailed when the store has none."""
    traces = waterfalls(session_spans(folder, session_id).records())
    if not traces:
        raise CommandFailed(
            f"{folder} has no spans of {session_id}: they come a few seconds after a turn has ended, and go when they"
            " are too old; with several machines, look where its harness runs",
            exit_code=1,
        )
    chosen = traces[-last:] if last else traces
    if as_json:
        print_json(console, [_plain(asdict(trace)) for trace in chosen])
        return
    for trace in chosen:
        _print_waterfall(console, trace)
    if len(chosen) < len(traces):
        console.print(f"{len(traces) - len(chosen)} earlier traces are not shown (--last 0 shows all)", style="dim")


def _print_waterfall(console: Console, trace: Waterfall) -> None:
    faults = f", {trace.errors} failed" if trace.errors else ""
    began = trace.began.strftime("%Y-%m-%d %H:%M:%S")
    title = f"{began}  {len(trace.bars)} spans, {_duration(trace.duration_ms)}{faults}  trace {trace.trace_id}"
    table = Table(box=None, title=title, title_justify="left", title_style="bold", padding=(0, 1))
    table.add_column("span", overflow="ellipsis", no_wrap=True, min_width=24)
    table.add_column("start", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("", width=_BAR, no_wrap=True)
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for bar in trace.bars:
        style = "red" if bar.error else _COLORS.get(bar.name.partition(" ")[0], "white")
        table.add_row(
            Text("  " * bar.depth + printable(bar.name), style=style),
            _duration(bar.start_ms),
            _duration(bar.duration_ms),
            Text(_drawn(bar, trace.duration_ms), style=style),
            Text(printable(_about(bar)), style="red" if bar.error else "dim"),
        )
    console.print(table)
    console.print()


def _drawn(bar: Bar, total: float) -> str:
    scale = _BAR / total if total > 0 else 0.0
    begin = min(_BAR - 1, int(bar.start_ms * scale))
    return " " * begin + "━" * max(1, min(_BAR - begin, round(bar.duration_ms * scale)))


def _about(bar: Bar) -> str:
    """Say what a reader wants to know of a span beside its name."""
    known = bar.attributes
    words: list[str] = [] if bar.error is None else [bar.error]
    if names.INPUT_TOKENS in known:
        words.append(f"{known[names.INPUT_TOKENS]} in, {known[names.OUTPUT_TOKENS]} out")
    shown = (names.STATUS, names.STOP_REASON, names.FINISH_REASONS, names.HAND, names.HTTP_STATUS, names.LINK)
    words += [known[name] for name in shown if name in known]
    if names.EVENTS in known:
        words.append(f"{known[names.EVENTS]} events")
    return ", ".join(words)


def _duration(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.2f} s" if milliseconds >= 1000 else f"{milliseconds:.1f} ms"


def _plain(value: Any) -> Any:
    """Return what JSON and CSV can say of a value."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast("list[Any]", value)]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
