"""The timeline on screen: live on a terminal, plain lines anywhere else.

On a terminal a status line below the timeline shows what is under way, with the text that the brain
is just writing (stream previews). Previews are never printed for good: the event that follows is.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from agents.commands.timeline import Entry, Event, Tone, Who, describe, moment, part, printable, tool_of

_WHO_STYLE: dict[Who, str] = {"you": "bold cyan", "brain": "bold magenta", "hand": "bold yellow", "session": "dim"}
_TONE_STYLE: dict[Tone, str] = {"plain": "", "quiet": "dim", "good": "green", "warn": "yellow", "bad": "bold red"}
_PREVIEW_LINES = 6
_CALL_TYPES = frozenset({"agent.tool_use", "agent.custom_tool_use", "agent.mcp_tool_use"})
_ACTIVITY = {
    "session.status_running": "thinking",
    "agent.tool_result": "thinking",
    "user.tool_result": "thinking",
    "agent.mcp_tool_result": "thinking",
    "span.model_request_start": "thinking",
    "session.status_rescheduled": "waiting to try again",
}


def plain_lines(entry: Entry, offset: float) -> str:
    """Return *entry* as text for a log or a pipe; nothing is wrapped or cut to a width."""
    first, *more = entry.text.split("\n")
    head = f"{offset:8.2f}s  {entry.who:<7}  {first}"
    below = [*more, *(f"| {line}" for line in entry.detail)]
    return "\n".join([head, *(f"{'':20}{line}" for line in below)])


def rich_row(entry: Entry, offset: float) -> RenderableType:
    """Return *entry* for a terminal; long text wraps inside its own column."""
    body: list[RenderableType] = [Text(entry.text, style=_TONE_STYLE[entry.tone])]
    for line in entry.detail:
        style = {"-": "red", "+": "green"}.get(line[:1], "dim") if entry.text.startswith("edit ") else "dim"
        body.append(Text(f"│ {line}", style=style, no_wrap=True, overflow="ellipsis"))
    row = Table.grid(padding=(0, 1))
    row.add_column(justify="right", width=8, style="dim")
    row.add_column(width=7, style=_WHO_STYLE[entry.who])
    row.add_column(ratio=1)
    row.add_row(f"{offset:.2f}s", entry.who, Group(*body))
    return row


class TimelineView:
    """Shows the events of one session as they come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start: datetime | None = None
        self._calls: dict[str, Event] = {}
        self._previews: dict[str, str] = {}
        self._activity = "waiting"
        self._live: Live | None = None

    @property
    def preview(self) -> str:
        """What the brain is just writing."""
        return "".join(self._previews.values())

    @contextmanager
    def live(self) -> Generator[None]:
        """Keep a status line below the timeline while the body runs (terminals only)."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self._status(), console=self._console, transient=True, refresh_per_second=10) as self._live:
            try:
                yield
            finally:
                self._live = None

    @contextmanager
    def paused(self) -> Generator[None]:
        """Take the status line away while the body runs, so that it can ask a question."""
        if self._live is None:
            yield
            return
        self._live.stop()
        try:
            yield
        finally:
            self._live.start(refresh=True)

    def show(self, event: Event) -> None:
        """Print what *event* means, or move the preview on."""
        kind = str(event.get("type"))
        if kind in ("event_start", "event_delta"):
            self._move_preview(event)
        else:
            self._settle(event, kind)
        if self._live is not None:
            self._live.update(self._status())

    def _move_preview(self, event: Event) -> None:
        if event.get("type") == "event_start":
            self._previews[str(part(event, "event").get("id"))] = ""
            return
        key = str(event.get("event_id"))
        text = str(part(part(event, "delta"), "content").get("text", ""))
        self._previews[key] = self._previews.get(key, "") + text

    def _settle(self, event: Event, kind: str) -> None:
        self._previews.pop(str(event.get("id")), None)
        if kind == "span.model_request_end":
            self._previews.clear()  # a preview that got no event never will (spec B.2)
        self._activity = _ACTIVITY.get(kind, self._activity)
        if kind in _CALL_TYPES:
            self._calls[str(event.get("id"))] = event
            self._activity = f"running {tool_of(event)}"
        if kind == "user.tool_confirmation" and (call := self._calls.get(str(event.get("tool_use_id")))):
            # The time that the person took to answer is not the tool's.
            self._calls[str(call.get("id"))] = {**call, "processed_at": event.get("processed_at")}
        at = moment(event)
        if self._start is None:
            self._start = at
        entry = describe(event, self._calls)
        if entry is None:
            return
        offset = (at - self._start).total_seconds() if at and self._start else 0.0
        if self._console.is_terminal:
            self._console.print(rich_row(entry, offset))
        else:
            self._console.print(Text(plain_lines(entry, offset)), soft_wrap=True)

    def _status(self) -> RenderableType:
        spinner = Spinner("dots", Text(f"  {self._activity} …", style="dim"))
        written = printable(self.preview).strip().split("\n")[-_PREVIEW_LINES:]
        if not any(written):
            return spinner
        return Group(Text("\n".join(written), style="italic dim"), spinner)
