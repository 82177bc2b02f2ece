"""``/-/usage`` and ``/-/invoices``: what hands were used for, and what that costs (docs/metering.md).

Ours, not the vendor's; it takes a key, as it tells what every tenant does.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import cast, get_args

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from agents.api.answers import json_answer
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation, Parameter
from agents.api.wire import parse, read_json
from agents.catalog.limits import check_length
from agents.clock import parse_day_or_time, rfc3339
from agents.economics.call_books import CallBooks, call_folder
from agents.economics.call_invoices import Invoice, InvoiceLine, Payout, invoices_of, month_span, payouts_of
from agents.economics.call_usage import CallFilter, CallTotal, Grouping
from agents.economics.hand_calls import LogPlace
from agents.errors import InvalidRequest


class UsageRow(TypedDict):
    """The calls of one group; money in micro-USD. ``failed`` counts those whose outcome is not ``ok``."""

    group: str
    calls: int
    cached: int
    failed: int
    queue_ms: int
    run_ms: int
    cpu_us: int
    bytes_in: int
    bytes_out: int
    micro_usd: int
    provider_micro_usd: int


class UsageReport(TypedDict):
    """Groups in order, and the price of all of them."""

    by: str
    since: str | None
    until: str | None
    data: list[UsageRow]
    micro_usd: int


class InvoiceLineReport(TypedDict):
    """One hand; the shares add up to ``cents``."""

    hand: str
    calls: int
    cached: int
    micro_usd: int
    cents: int
    provider_cents: int
    platform_cents: int


class InvoiceReport(TypedDict):
    """One tenant; the lines add up to ``cents``."""

    tenant: str
    cents: int
    lines: list[InvoiceLineReport]


class PayoutReport(TypedDict):
    """One hand over all tenants."""

    hand: str
    calls: int
    cents: int
    provider_cents: int
    platform_cents: int


class InvoiceReports(TypedDict):
    """A month: what tenants pay, and who gets it."""

    month: str
    invoices: list[InvoiceReport]
    payouts: list[PayoutReport]
    cents: int


class ReconcileParams(TypedDict, total=False):
    """Where to look on; from the beginning when it is not said."""

    session: str
    seq: int


class ReconcileReport(TypedDict):
    """Calls that the log told of, how many of them the books lacked, and where to look on; null: that was all."""

    seen: int
    added: int
    next: LogPlaceReport | None


class LogPlaceReport(TypedDict):
    """A place in the log of all sessions."""

    session: str
    seq: int


_TEXT = {"type": "string"}
_MONTH = {"type": "string", "pattern": "^[1-9][0-9]{3}-(0[1-9]|1[0-2])$"}
_MOST_CHARS = 100
_MOST_SEQ = 2**53
_GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)


class MeteringRoutes:
    """Add up, and write invoices."""

    def __init__(self, platform: Platform) -> None:
        settings = platform.settings
        self._books = CallBooks(platform.store.calls, call_folder(settings), platform.clock)

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        usage = [
            Parameter("by", {"type": "string", "enum": list(_GROUPINGS)}, "what to group by; hand by default"),
            Parameter("since", _TEXT, "a day (UTC) or an RFC 3339 time, included"),
            Parameter("until", _TEXT, "a day (UTC) or an RFC 3339 time, not included"),
            Parameter("tenant", _TEXT, "only of this tenant: the name of an API key"),
        ]
        month = [Parameter("month", _MONTH, "a month (UTC) such as 2026-11; required")]
        return [
            Operation("GET", "/-/usage", self.usage, "getUsage", "metering", UsageReport, parameters=usage),
            Operation(
                "POST",
                "/-/usage/reconcile",
                self.reconcile,
                "reconcileUsage",
                "metering",
                ReconcileReport,
                body=ReconcileParams,
            ),
            Operation(
                "GET", "/-/invoices", self.invoices, "listInvoices", "metering", InvoiceReports, parameters=month
            ),
        ]

    async def usage(self, request: Request) -> Response:
        query = Query(request.query_params)
        by = cast(Grouping, query.choice("by", _GROUPINGS) or "hand")
        chosen = CallFilter(_moment(query, "since"), _moment(query, "until"), query.text("tenant"))
        if chosen.since and chosen.until and chosen.until <= chosen.since:
            raise InvalidRequest("until: must be after since")
        totals = await self._books.totals([by], chosen)
        report: UsageReport = {
            "by": by,
            "since": chosen.since and rfc3339(chosen.since),
            "until": chosen.until and rfc3339(chosen.until),
            "data": [_usage_row(total) for total in totals],
            "micro_usd": sum(total.micro_usd for total in totals),
        }
        return json_answer(report)

    async def invoices(self, request: Request) -> Response:
        month = Query(request.query_params).text("month")
        if month is None:
            raise InvalidRequest("month: is required, such as 2026-11")
        first, after = month_span("month", month)
        invoices = invoices_of(await self._books.totals(["tenant", "hand"], CallFilter(first, after)))
        report: InvoiceReports = {
            "month": month,
            "invoices": [_invoice_report(invoice) for invoice in invoices],
            "payouts": [_payout_report(payout) for payout in payouts_of(invoices)],
            "cents": sum(invoice.cents for invoice in invoices),
        }
        return json_answer(report)

    async def reconcile(self, request: Request) -> Response:
        params = parse(ReconcileParams, await read_json(request))
        session, seq = params.get("session", ""), params.get("seq", 0)
        check_length("session", session, _MOST_CHARS)
        if not 0 <= seq <= _MOST_SEQ:
            raise InvalidRequest(f"seq: must be from 0 to {_MOST_SEQ}, not {seq}")
        done = await self._books.reconcile(LogPlace(session, seq))
        report: ReconcileReport = {
            "seen": done.seen,
            "added": done.added,
            "next": None if done.after is None else {"session": done.after.session, "seq": done.after.seq},
        }
        return json_answer(report)


def _moment(query: Query, name: str) -> datetime | None:
    text = query.text(name)
    if text is None:
        return None
    try:
        return parse_day_or_time(text)
    except ValueError as error:
        raise InvalidRequest(f"{name}: {error}") from None


def _usage_row(total: CallTotal) -> UsageRow:
    return cast(UsageRow, {**asdict(total), "group": total.group[0]})


def _invoice_report(invoice: Invoice) -> InvoiceReport:
    return {"tenant": invoice.tenant, "cents": invoice.cents, "lines": [_line_report(line) for line in invoice.lines]}


def _line_report(line: InvoiceLine) -> InvoiceLineReport:
    return cast(InvoiceLineReport, {**asdict(line), "platform_cents": line.platform_cents})


def _payout_report(payout: Payout) -> PayoutReport:
    return cast(PayoutReport, {**asdict(payout), "platform_cents": payout.platform_cents})
