"""The signatures of ``hecaton usage`` and ``hecaton invoices``; what they do is imported when they run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from agents.commands.options import ApiKey, AsJson, Config, DataDir, Url, client_from

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)
AsCsv = Annotated[bool, typer.Option("--csv", help="Print it as CSV, amounts in US dollars.")]


class UsageGroup(StrEnum):
    """What calls can be added up by."""

    HAND = "hand"
    VERSION = "version"
    TENANT = "tenant"
    SESSION = "session"
    TOOL = "tool"
    OUTCOME = "outcome"


def usage(
    by: Annotated[UsageGroup, typer.Option(help="What the calls are added up by.")] = UsageGroup.HAND,
    since: Annotated[str | None, typer.Option(help="A day (UTC) or an RFC 3339 time, included.")] = None,
    until: Annotated[str | None, typer.Option(help="A day (UTC) or an RFC 3339 time, not included.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant: the name of an API key.")] = None,
    again: Annotated[
        bool, typer.Option("--reconcile", help="First add to the books what the log tells of and they lack.")
    ] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Show the calls of hands: how many, how long, how much, and their price."""
    from agents.commands.metering import Output, reconcile, show_usage

    client = client_from(url, data_dir, config, api_key)
    if again:
        reconcile(stderr, client)
    asked = {"by": by.value, "since": since, "until": until, "tenant": tenant}
    show_usage(console, client, asked, Output.chosen(as_json=as_json, as_csv=as_csv))


def invoices(
    month: Annotated[str, typer.Option(help="The month (UTC), such as 2026-11.")],
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Show what each tenant pays for each hand in a month, and what of it is the provider's."""
    from agents.commands.metering import Output, show_invoices

    client = client_from(url, data_dir, config, api_key)
    show_invoices(console, client, month, Output.chosen(as_json=as_json, as_csv=as_csv))
