"""The versions of a server's hands: which of them get the sessions, and how they keep their promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from anthropic import Anthropic
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.failures import CommandFailed
from agents.commands.timeline import printable
from agents.commands.versions import change_versions, state_of
from agents.governance.golden import parse_golden

_PATH = "/-/hands"
_LOW_BUDGET = 0.25


def golden_text(path: Path | None) -> str | None:
    """Return the text of a file of golden calls. Raises CommandFailed, InvalidRequest naming the line."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path}: {error}") from error
    parse_golden(text, str(path))
    return text


def change_hand(
    console: Console, client: Anthropic, name: str, action: str, body: Mapping[str, Any], *, as_json: bool
) -> None:
    """Let the server do *action* (release, promote or rollback) with the hand *name*, and print what came of it."""
    answer = change_versions(client, _PATH, name, action, body)
    if as_json:
        print_json(console, answer)
        return
    checks = answer["checks"]
    for note in checks["notes"] if checks else ():
        console.print(Text(f"note: {printable(note)}", style="dim"))
    if checks and checks["golden_calls"]:
        console.print(f"{checks['golden_calls']} golden calls went as expected")
    _show(console, [answer])


def show_sla(console: Console, client: Anthropic, name: str | None, *, as_json: bool) -> None:
    """Print how one hand, or every hand, keeps its promises."""
    names = [name] if name is not None else _names(client)
    paths = [f"{_PATH}/{quote(each, safe='')}/sla" for each in names]
    answers = [cast("dict[str, Any]", client.get(path, cast_to=object)) for path in paths]
    if as_json:
        print_json(console, answers[0] if name is not None else {"data": answers})
    else:
        _show(console, answers)


def _names(client: Anthropic) -> Sequence[str]:
    listed = cast("dict[str, Any]", client.get(_PATH, cast_to=object))["data"]
    return list(dict.fromkeys(hand["name"] for hand in listed))


def _show(console: Console, hands: Sequence[Mapping[str, Any]]) -> None:
    table = Table(box=None, header_style="bold")
    for column in ("hand", "state", "sessions", "calls", "promise", "measured", "left", "burn"):
        number = column in ("sessions", "calls", "measured", "left", "burn")
        table.add_column(column, overflow="fold", justify="right" if number else "left")
    for hand in hands:
        for version in hand["versions"]:
            _show_version(table, version)
    console.print(table)
    for version in (each for hand in hands for each in hand["versions"] if each["reason"]):
        console.print(Text(f"{version['id']} was withdrawn: {printable(version['reason'])}", style="dim"))


def _show_version(table: Table, version: Mapping[str, Any]) -> None:
    first = [
        Text(version["id"]),
        state_of(version),
        Text(f"{version['weight']} %"),
        Text(str(version["calls"])),
    ]
    promises = [_promise(each) for each in version["objectives"] or ()] or [[Text("no contract", style="dim"), *_NONE]]
    for index, promise in enumerate(promises):
        table.add_row(*(first if index == 0 else [""] * len(first)), *promise)


_NONE = [Text("")] * 3


def _promise(each: Mapping[str, Any]) -> list[Text]:
    promised, measured, left = each["promised"], each["measured"], each["budget_left"]
    match each["name"]:
        case "availability":
            words, shown = f"answered {_percent(promised)}", _percent(measured)
        case "error_rate":
            words, shown = f"errors ≤ {_percent(promised)}", _percent(measured)
        case _:
            words, shown = f"p95 ≤ {promised:g} s", "" if measured is None else f"{measured:.3g} s"
    if measured is None:
        return [Text(words), Text("no calls", style="dim"), Text(""), Text("")]
    style = "red" if left <= 0 else "yellow" if left < _LOW_BUDGET else "green"
    return [Text(words), Text(shown), Text(f"{left:.0%}", style=style), Text(f"{each['burn']:.2f}x")]


def _percent(part: float | None) -> str:
    return "" if part is None else f"{part * 100:.5g} %"
