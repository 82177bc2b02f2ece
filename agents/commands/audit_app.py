"""The signatures of ``hecaton audit``; what its commands do is imported when they run, as in ``agents.cli``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agents.commands.options import ApiKey, AsJson, Config, DataDir, Url, client_from, settings_from

audit_app = typer.Typer(help="Look at the audit trail, verify it, export it.", no_args_is_help=True)
hold_app = typer.Typer(help="Legal holds: sessions that nobody can delete or redact.", no_args_is_help=True)
audit_app.add_typer(hold_app, name="hold")
console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)

SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="Id of the session (sesn_…).")]
Reason = Annotated[str, typer.Option(help="Why; it is in the trail.")]


@audit_app.command("list")
def audit_list(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Entries at most, newest first.")] = 50,
    actor: Annotated[str | None, typer.Option(help="Only what this key did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this operation, such as deleteSession.")] = None,
    object_: Annotated[str | None, typer.Option("--object", help="Only what was done to this id or name.")] = None,
    since: Annotated[str | None, typer.Option(help="A day (UTC) or an RFC 3339 time, included.")] = None,
    until: Annotated[str | None, typer.Option(help="A day (UTC) or an RFC 3339 time, not included.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """List who did what, when and from where."""
    from agents.commands.audit import list_entries

    asked = {"actor": actor, "action": action, "object": object_, "since": since, "until": until}
    list_entries(console, client_from(url, data_dir, config, api_key), asked, limit, as_json=as_json)


@audit_app.command("head")
def audit_head(
    as_json: AsJson = False, url: Url = None, data_dir: DataDir = None, config: Config = None, api_key: ApiKey = None
) -> None:
    """Print the place and hash of the newest entry, to be kept elsewhere; signed where audit.signing_key is set."""
    from agents.commands.audit import show_head

    show_head(console, client_from(url, data_dir, config, api_key), as_json=as_json)


@audit_app.command("verify")
def audit_verify(
    head: Annotated[
        str | None, typer.Option(help="A hash that 'audit head' printed before, or SEQ:HASH: it must be there still.")
    ] = None,
    session: Annotated[str | None, typer.Option(help="Only the log of this session.")] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", help="Verify this export instead of a server.", file_okay=False)
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Read the database of the data directory itself, without a server.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Compute every hash again; ends with 1 and names the first bad row when something was changed."""
    from agents.commands.audit_verify import offline_verifier, report, server_verifier

    if from_ is not None or offline:
        verifier = offline_verifier(None if from_ else settings_from(config, data_dir=data_dir), from_)
    else:
        verifier = server_verifier(client_from(url, data_dir, config, api_key))
    report(console, stderr, verifier, head=head, session=session, as_json=as_json)


@audit_app.command("export")
def audit_export(
    out: Annotated[Path, typer.Option(help="Folder for the Parquet files; must not hold any.", file_okay=False)],
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Write the trail and all sessions' logs to Parquet files that can be verified without this server."""
    from agents.commands.audit_export import export

    export(console, stderr, client_from(url, data_dir, config, api_key), out)


@audit_app.command("redact")
def audit_redact(
    session: SessionId,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="Id of the event (sevt_…).")],
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Take the content of an event away, for ever; its hash stays."""
    from agents.commands.audit import redact

    if not yes:
        typer.confirm(f"Take the content of {event} away for ever?", abort=True)
    redact(console, client_from(url, data_dir, config, api_key), session, event, reason)


@hold_app.command("add")
def hold_add(
    session: SessionId,
    reason: Reason,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Put a session under legal hold."""
    from agents.commands.audit import add_hold

    add_hold(console, client_from(url, data_dir, config, api_key), session, reason)


@hold_app.command("list")
def hold_list(
    as_json: AsJson = False, url: Url = None, data_dir: DataDir = None, config: Config = None, api_key: ApiKey = None
) -> None:
    """List the sessions under legal hold."""
    from agents.commands.audit import list_holds

    list_holds(console, client_from(url, data_dir, config, api_key), as_json=as_json)


@hold_app.command("release")
def hold_release(
    session: SessionId, url: Url = None, data_dir: DataDir = None, config: Config = None, api_key: ApiKey = None
) -> None:
    """End the legal hold of a session."""
    from agents.commands.audit import release_hold

    release_hold(console, client_from(url, data_dir, config, api_key), session)
