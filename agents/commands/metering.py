"""``hecaton usage`` and ``hecaton invoices``: what the server adds up, as tables, JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.failures import CommandFailed
from agents.commands.timeline import printable

if TYPE_CHECKING:
    from anthropic import Anthropic

_LEFT = {"hand", "tenant", "session", "version", "tool", "outcome"}
_NOBODY = {"tenant": "(no key)", "session": "(no session)"}
"""What a table says for the empty name of a group."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Output(Enum):
    """How an answer is printed."""

    TABLE = auto()
    JSON = auto()
    CSV = auto()

    @classmethod
    def chosen(cls, *, as_json: bool, as_csv: bool) -> Output:
        """Raises CommandFailed when both are asked for."""
        if as_json and as_csv:
            raise CommandFailed("either --json or --csv", exit_code=2)
        return cls.JSON if as_json else cls.CSV if as_csv else cls.TABLE


def show_usage(console: Console, client: Anthropic, asked: Mapping[str, str | None], output: Output) -> None:
    """Print the calls of hands, added up as *asked* (the parameters of ``/-/usage``)."""
    query: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
    answer = cast("dict[str, Any]", client.get("/-/usage", cast_to=object, options={"params": query}))
    if output is Output.JSON:
        print_json(console, answer)
        return
    columns = (answer["by"], "calls", "cached", "failed", "queue s", "run s", "CPU s", "bytes", "USD")
    nobody = _NOBODY.get(answer["by"], "") if output is Output.TABLE else ""
    rows = [
        (
            row["group"] or nobody,
            row["calls"],
            row["cached"],
            row["failed"],
            _thousandths(row["queue_ms"]),
            _thousandths(row["run_ms"]),
            _thousandths(row["cpu_us"] // 1000),
            row["bytes_in"] + row["bytes_out"],
            _micro(row["micro_usd"]),
        )
        for row in answer["data"]
    ]
    _print(console, columns, rows, output)
    if output is Output.TABLE:
        console.print(f"total {_micro(answer['micro_usd'])} USD")


def reconcile(console: Console, client: Anthropic) -> None:
    """Have the server go through its whole log, and add to the books what they lack."""
    place: dict[str, Any] | None = {}
    seen = added = 0
    while place is not None:
        answer = cast("dict[str, Any]", client.post("/-/usage/reconcile", cast_to=object, body=place))
        seen, added, place = seen + answer["seen"], added + answer["added"], answer["next"]
    console.print(f"the log tells of {seen} calls; the books lacked {added} of them")


def show_invoices(console: Console, client: Anthropic, month: str, output: Output) -> None:
    """Print the invoices of a month, line by line; a table also tells what each hand has brought in."""
    answer = cast("dict[str, Any]", client.get("/-/invoices", cast_to=object, options={"params": {"month": month}}))
    if output is Output.JSON:
        print_json(console, answer)
        return
    columns = ("tenant", "hand", "calls", "cached", "USD", "provider USD", "platform USD")
    rows = [
        (
            invoice["tenant"],
            line["hand"],
            line["calls"],
            line["cached"],
            *(_cents(line[name]) for name in ("cents", "provider_cents", "platform_cents")),
        )
        for invoice in answer["invoices"]
        for line in invoice["lines"]
    ]
    _print(console, columns, rows, output)
    if output is Output.CSV:
        return
    for invoice in answer["invoices"]:
        console.print(Text(f"{printable(invoice['tenant'] or _NOBODY['tenant'])} pays {_cents(invoice['cents'])} USD"))
    for payout in answer["payouts"]:
        shares = f"provider {_cents(payout['provider_cents'])}, platform {_cents(payout['platform_cents'])}"
        console.print(Text(f"{printable(payout['hand'])} brings in {_cents(payout['cents'])} USD: {shares}"))
    console.print(f"total of {printable(answer['month'])}: {_cents(answer['cents'])} USD")


def _print(console: Console, columns: Sequence[str], rows: Iterable[Sequence[object]], output: Output) -> None:
    if output is Output.CSV:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *(map(_harmless, row) for row in rows)])
        console.print(text.getvalue(), markup=False, soft_wrap=True, end="")
        return
    table = Table(box=None, header_style="bold")
    for column in columns:
        # A figure that is broken over two lines is read as another one.
        if column in _LEFT:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    console.print(table)


def _harmless(cell: object) -> object:
    # Names of servers are chosen by who writes an agent; a spreadsheet must not take one for a formula.
    if not isinstance(cell, str):
        return cell
    return f"'{printable(cell)}" if cell.startswith(_FORMULA) else printable(cell)


def _thousandths(number: int) -> str:
    return f"{number // 1000}.{number % 1000:03d}"


def _micro(number: int) -> str:
    return f"{number // 1_000_000}.{number % 1_000_000:06d}"


def _cents(number: int) -> str:
    return f"{number // 100}.{number % 100:02d}"
