"""The signatures of ``hecaton webhooks``; what they do is imported when they run."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from agents.commands.options import ApiKey, AsJson, Config, DataDir, Url, client_from

webhooks_app = typer.Typer(help="Manage the endpoints that are told what happens.", no_args_is_help=True)
console = Console(highlight=False)

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK_ID", help="Id of the endpoint (whk_…).")]


@webhooks_app.command("add")
def webhooks_add(
    target: Annotated[str, typer.Argument(metavar="URL", help="Where messages are posted to.")],
    events: Annotated[
        list[str] | None,
        typer.Option("--events", help="A name, such as session.status_idled; repeatable (default: all)."),
    ] = None,
    workspace: Annotated[str, typer.Option(help="Whose events are told.")] = "default",
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Register an endpoint; prints it as JSON, with its signing secret, which is shown once."""
    from agents.commands.webhooks import add_webhook

    names = [name for each in events or () for name in each.replace(",", " ").split()]
    add_webhook(console, client_from(url, data_dir, config, api_key), target, names, workspace)


@webhooks_app.command("list")
def webhooks_list(
    workspace: Annotated[str | None, typer.Option(help="Only endpoints of this workspace.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """List the endpoints, disabled ones too, and why they are."""
    from agents.commands.webhooks import list_webhooks

    list_webhooks(console, client_from(url, data_dir, config, api_key), workspace, as_json=as_json)


@webhooks_app.command("enable")
def webhooks_enable(
    webhook: WebhookId,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Enable an endpoint again; what it missed is not told."""
    from agents.commands.webhooks import enable_webhook

    enable_webhook(console, client_from(url, data_dir, config, api_key), webhook, as_json=as_json)


@webhooks_app.command("remove")
def webhooks_remove(
    webhook: WebhookId,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Remove an endpoint; what waits for it is not told."""
    from agents.commands.webhooks import remove_webhook

    remove_webhook(console, client_from(url, data_dir, config, api_key), webhook, as_json=as_json)
