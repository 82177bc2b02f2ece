"""The demonstration's figures as Parquet files: who the customers are, what they paid, what they asked support."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from agents.example_hands.demonstration import PLANS, customers, draw, month_start

LAST_WRITTEN = "tickets.parquet"
"""With this file, all are there."""


def write_demonstration(folder: Path) -> None:
    """Write the files of the demonstration into *folder*, each whole or not at all."""
    # They have no types of their own.
    import pyarrow as arrow  # pyright: ignore[reportMissingTypeStubs]
    import pyarrow.parquet as parquet  # pyright: ignore[reportMissingTypeStubs]

    pa, pq = cast(Any, arrow), cast(Any, parquet)
    text, day = pa.string(), pa.date32()
    schemas = {
        "customers": [("customer_id", text), ("company", text), ("plan", text), ("joined", day), ("left", day)],
        "revenue": [("customer_id", text), ("plan", text), ("month", day), ("amount", pa.decimal128(12, 2))],
        "tickets": [
            ("ticket_id", text),
            ("customer_id", text),
            ("channel", text),
            ("opened_at", pa.timestamp("s")),
            ("minutes_to_answer", pa.int32()),
            ("solved", pa.bool_()),
        ],
    }
    rows = {"customers": _customers(), "revenue": _revenue(), "tickets": _tickets()}
    for name, columns in schemas.items():
        table = pa.Table.from_pylist(list(rows[name]), schema=pa.schema(columns))
        # Several replicas may do so at once; each file comes to its name whole.
        beside = folder / f".{name}.{os.getpid()}.writing"
        pq.write_table(table, beside)
        beside.rename(folder / f"{name}.parquet")


def _customers() -> Iterator[dict[str, Any]]:
    for each in customers():
        left = None if each.left is None else _day(each.left)
        yield {
            "customer_id": each.id,
            "company": each.company,
            "plan": each.plan,
            "joined": _day(each.joined),
            "left": left,
        }


def _revenue() -> Iterator[dict[str, Any]]:
    for each in customers():
        for month in each.months:
            amount = Decimal(PLANS[each.plan]) / 100
            yield {"customer_id": each.id, "plan": each.plan, "month": _day(month), "amount": amount}


def _tickets() -> Iterator[dict[str, Any]]:
    for each in customers():
        for month in each.months:
            for number in range(draw(4, "tickets", each.id, month)):
                what = (each.id, month, number)
                yield {
                    "ticket_id": f"tic_{each.id[4:]}_{month}_{number}",
                    "customer_id": each.id,
                    "channel": ("email", "chat", "phone")[draw(3, "ticket channel", *what)],
                    "opened_at": _moment(month, *what),
                    "minutes_to_answer": 2 + draw(600, "answer", *what),
                    "solved": draw(10, "solved", *what) > 0,
                }


def _day(month: int) -> date:
    return month_start(month).date()


def _moment(month: int, *what: object) -> datetime:
    return month_start(month).replace(tzinfo=None) + timedelta(minutes=draw(28 * 1440, "ticket", *what))
