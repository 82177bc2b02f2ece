"""``hecaton usage`` and ``hecaton invoices``: tables, JSON, CSV (ours)."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.commands import client
from agents.commands.timeline import printable
from tests.unit.commands.scripted_api import ScriptedApi

ROW: dict[str, Any] = {
    "group": "crm",
    "calls": 1234,
    "cached": 234,
    "failed": 1,
    "queue_ms": 2040,
    "run_ms": 61_005,
    "cpu_us": 7_000_999,
    "bytes_in": 10,
    "bytes_out": 100,
    "micro_usd": 2_117_000,
    "provider_micro_usd": 1_693_600,
}
SHARES = {"cents": 212, "provider_cents": 170, "platform_cents": 42}
INVOICES: dict[str, Any] = {
    "month": "2026-11",
    "invoices": [
        {
            "tenant": "acme",
            "cents": 212,
            "lines": [{"hand": "mcp:\x1b[31m", "calls": 1234, "cached": 234, "micro_usd": 2_117_000, **SHARES}],
        },
        {"tenant": "=zeta", "cents": 0, "lines": []},
    ],
    "payouts": [{"hand": "crm", "calls": 1234, **SHARES}],
    "cents": 212,
}
INVOICES["invoices"][1]["lines"] = [
    {"hand": "@x", "calls": 2, "cached": 0, "micro_usd": 1, "cents": 0, "provider_cents": 0, "platform_cents": 0}
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    api = ScriptedApi()

    def answer(body: Any) -> Any:
        def told(request: Any) -> Any:
            seen.append(str(request.url.query.decode()))
            return body

        return told

    usage = {"by": "hand", "since": None, "until": None, "data": [ROW], "micro_usd": 2_117_000}
    api.routes["GET", "/-/usage"] = answer(usage)
    api.routes["GET", "/-/invoices"] = answer(INVOICES)
    places = iter(
        [{"seen": 4, "added": 1, "next": {"session": "sesn_9", "seq": 7}}, {"seen": 2, "added": 0, "next": None}]
    )

    def reconciled(request: Any) -> Any:
        seen.append(request.content.decode())
        return next(places)

    api.routes["POST", "/-/usage/reconcile"] = reconciled
    monkeypatch.setattr(client, "open_client", lambda settings, url=None: api.client())
    return seen


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    return result.output


def test_usage_is_asked_for_as_the_options_say_and_shown(asked: list[str]) -> None:
    shown = run("usage", "--by", "tenant", "--since", "2026-11-01", "--tenant", "acme")
    assert asked == ["by=tenant&since=2026-11-01&tenant=acme"]
    for part in ("crm", "1234", "234", "2.040", "61.005", "7.000", "2.117000", "total 2.117000 USD"):
        assert part in shown


@pytest.mark.parametrize(("by", "named"), [("session", "(no session)"), ("tenant", "(no key)")])
def test_calls_of_nobody_are_named_in_a_table_and_empty_in_figures(
    monkeypatch: pytest.MonkeyPatch, by: str, named: str
) -> None:
    api = ScriptedApi()
    api.routes["GET", "/-/usage"] = lambda _: {"by": by, "data": [ROW | {"group": ""}], "micro_usd": 0}
    monkeypatch.setattr(client, "open_client", lambda settings, url=None: api.client())
    assert named in run("usage", "--by", by)
    [row] = csv.DictReader(io.StringIO(run("usage", "--by", by, "--csv")))
    assert row[by] == ""


def test_usage_as_json_is_what_the_server_said(asked: list[str]) -> None:
    assert json.loads(run("usage", "--json"))["data"] == [ROW]
    assert asked == ["by=hand"]


def test_usage_as_csv_has_a_line_per_group(asked: list[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(run("usage", "--csv"))))
    assert [(row["hand"], row["calls"], row["USD"]) for row in rows] == [("crm", "1234", "2.117000")]


def test_invoices_are_shown_with_shares_and_sums(asked: list[str]) -> None:
    shown = run("invoices", "--month", "2026-11")
    assert asked == ["month=2026-11"]
    for part in (
        "acme pays 2.12 USD",
        "crm brings in 2.12 USD: provider 1.70, platform 0.42",
        "total of 2026-11: 2.12",
    ):
        assert part in shown
    assert "\x1b[31m" not in shown


def test_invoices_as_csv_hold_no_formulas(asked: list[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(run("invoices", "--month", "2026-11", "--csv"))))
    assert [(row["tenant"], row["hand"], row["USD"], row["provider USD"], row["platform USD"]) for row in rows] == [
        ("acme", printable("mcp:\x1b[31m"), "2.12", "1.70", "0.42"),
        ("'=zeta", "'@x", "0.00", "0.00", "0.00"),
    ]
    assert "\x1b" not in rows[0]["hand"]


def test_json_and_csv_at_once_are_refused(asked: list[str]) -> None:
    result = CliRunner().invoke(app, ["usage", "--json", "--csv"])
    assert result.exit_code != 0
    assert asked == []


def test_reconciling_goes_through_the_whole_log_first(asked: list[str]) -> None:
    result = CliRunner().invoke(app, ["usage", "--reconcile", "--json"])
    assert json.loads(result.stdout)["data"] == [ROW]
    assert "the log tells of 6 calls; the books lacked 1 of them" in result.stderr
    assert [json.loads(each) for each in asked[:2]] == [{}, {"session": "sesn_9", "seq": 7}]
    assert asked[2:] == ["by=hand"]
