"""The ``hecaton`` command line.

Only signatures live here: what a command does is imported when it runs, so that ``hecaton --help``
and shell completion stay fast (the SDK takes a second to import; Ray is never imported at all).
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from agents.commands.audit_app import audit_app
from agents.commands.backup_app import backup as backup_command
from agents.commands.backup_app import restore as restore_command
from agents.commands.batch_app import batch as batch_command
from agents.commands.brains_app import brains_app
from agents.commands.environments_app import environments_app
from agents.commands.environments_app import worker as worker_command
from agents.commands.experiment import experiment_app
from agents.commands.failures import CommandFailed
from agents.commands.hand_releases_app import add_release_commands
from agents.commands.hands_app import hands_app
from agents.commands.keys_app import keys_app
from agents.commands.metering_app import invoices as invoices_command
from agents.commands.metering_app import usage as usage_command
from agents.commands.options import (
    ApiKey,
    Assignments,
    Config,
    DataDir,
    Host,
    Port,
    Topology,
    Url,
    client_from,
    settings_from,
)
from agents.commands.roi_app import roi as roi_command
from agents.commands.topology_app import topology as topology_command
from agents.commands.traces_app import traces_app
from agents.commands.vaults_app import vaults_app
from agents.commands.webhooks_app import webhooks_app
from agents.errors import HecatonError

app = typer.Typer(
    name="hecaton",
    help="A self-hosted managed-agents platform on Ray that speaks the Claude Managed Agents API.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
sessions_app = typer.Typer(help="Look at the sessions of a running server, and end them.", no_args_is_help=True)
app.add_typer(sessions_app, name="sessions")
app.add_typer(brains_app, name="brains")
app.add_typer(audit_app, name="audit")
add_release_commands(hands_app)
app.add_typer(hands_app, name="hands")
app.add_typer(vaults_app, name="vaults")
app.add_typer(environments_app, name="environments")
app.add_typer(keys_app, name="keys")
app.add_typer(webhooks_app, name="webhooks")
app.add_typer(experiment_app, name="experiment")
app.command("batch")(batch_command)
app.add_typer(traces_app, name="traces")
app.command("worker")(worker_command)
app.command("topology")(topology_command)
app.command("usage")(usage_command)
app.command("invoices")(invoices_command)
app.command("roi")(roi_command)
app.command("backup")(backup_command)
app.command("restore")(restore_command)
console = Console(highlight=False)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Allow every tool call that asks for permission.")]
Model = Annotated[str, typer.Option(help="Model of the agent that is made for you.")]
AgentId = Annotated[str | None, typer.Option("--agent", help="Use this agent (its id) instead.")]
EnvironmentId = Annotated[str | None, typer.Option("--environment", help="Use this environment (its id) instead.")]
SessionOption = Annotated[str | None, typer.Option("--session", help="Go on with this session (its id).")]
Ask = Annotated[bool, typer.Option("--ask", help="Let bash, write and edit ask you before they run.")]
AllowPrivate = Annotated[
    list[str] | None,
    typer.Option(metavar="NETWORK", help="Let MCP servers and web tools be in it (127.0.0.0/8); may be repeated."),
]
SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="Id of the session (sesn_…).")]
_MODEL = "claude-sonnet-5-5"


class Part(StrEnum):
    """What `roll` can replace."""

    HANDS = "hands"
    BRAIN = "brain"
    HARNESS = "harness"
    GATEWAY = "gateway"
    ALL = "all"


@app.command()
def up(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
    topology: Annotated[
        Topology | None, typer.Option(help="Brains and hands apart (default), or all in one replica.")
    ] = None,
    allow_private: AllowPrivate = None,
    assignments: Assignments = None,
) -> None:
    """Start the server and stay with it until Ctrl-C or SIGTERM."""
    from agents.commands.platform import platform_command, refuse_second

    flags = {"host": host, "port": port, "data_dir": data_dir, "api_key": api_key, "topology": topology}
    settings = settings_from(config, assignments, **flags, **{"network.allow_private": allow_private})
    refuse_second(settings)
    command = platform_command(settings)
    os.execv(command[0], command)  # noqa: S606 - the arguments are ours, and a shell is what we do not want


@app.command()
def down(data_dir: DataDir = None, config: Config = None) -> None:
    """End the server of a data directory: turns under way may finish first."""
    from agents.commands.platform import find_platform, patience_of, stop_platform

    settings = settings_from(config, data_dir=data_dir)
    record = find_platform(settings)
    if record is None:
        console.print(f"nothing is up on {settings.data_dir}")
        return
    with console.status(f"ending process {record.pid} …"):
        gentle = stop_platform(record, patience_of(settings))
    if not gentle:
        console.print(Text(f"process {record.pid} did not end in {patience_of(settings):.0f} s: killed", style="red"))
        raise typer.Exit(1)
    console.print(f"{record.url} is down")


@app.command()
def scale(
    harness: Annotated[int | None, typer.Option("--harness", min=1, max=256, help="Harnesses that shall run.")] = None,
    hosts: Annotated[int | None, typer.Option("--hosts", min=1, help="Sandbox hosts that shall run.")] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Change how many harnesses, or sandbox hosts, a running server has; no session notices."""
    from agents.commands.rollout import joining_environment, rollout_command

    order = [f"--{name}={count}" for name, count in (("harness", harness), ("hosts", hosts)) if count is not None]
    if not order:
        raise typer.BadParameter("say how many: --harness, --hosts or both")
    settings = settings_from(config, data_dir=data_dir)
    command = rollout_command(settings, ["scale", *order], anew=False)
    os.execve(command[0], command, joining_environment(settings))  # noqa: S606 - as in `up`


@app.command()
def roll(
    part: Annotated[Part, typer.Argument(metavar="PART", help="hands, brain, harness, gateway or all.")] = Part.ALL,
    data_dir: DataDir = None,
    config: Config = None,
    assignments: Assignments = None,
) -> None:
    """Replace a running server's processes one by one: new code, and with --config or --set new settings."""
    from agents.commands.rollout import joining_environment, rollout_command

    settings = settings_from(config, assignments, data_dir=data_dir)
    command = rollout_command(settings, ["roll", part.value], anew=bool(config or assignments))
    os.execve(command[0], command, joining_environment(settings))  # noqa: S606 - as in `up`


@app.command()
def run(
    prompt: Annotated[str, typer.Argument(help="What the agent shall do.")],
    url: Url = None,
    embedded: Annotated[bool, typer.Option("--embedded", help="Start a server just for this command.")] = False,
    model: Model = _MODEL,
    agent: AgentId = None,
    environment: EnvironmentId = None,
    session: SessionOption = None,
    ask: Ask = False,
    yes: Yes = False,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
    assignments: Assignments = None,
) -> None:
    """Give an agent one prompt and watch it work."""
    from agents.commands.talk import Whom
    from agents.commands.talk import run as run_prompt

    settings = settings_from(config, assignments, data_dir=data_dir, api_key=api_key)
    whom = Whom(model, agent, environment, session, ask)
    raise typer.Exit(run_prompt(console, settings, whom, prompt, url=url, embedded=embedded, yes=yes))


@app.command()
def chat(
    url: Url = None,
    model: Model = _MODEL,
    agent: AgentId = None,
    environment: EnvironmentId = None,
    session: SessionOption = None,
    ask: Ask = False,
    yes: Yes = False,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Talk with an agent in the terminal, turn by turn."""
    from agents.commands.talk import Whom
    from agents.commands.talk import chat as chat_turns

    settings = settings_from(config, data_dir=data_dir, api_key=api_key)
    whom = Whom(model, agent, environment, session, ask)
    raise typer.Exit(chat_turns(console, settings, whom, url=url, yes=yes))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder the agent works on (a copy).")] = Path("."),
    prompt: Annotated[str | None, typer.Option(help="Another task (with Claude as the brain).")] = None,
    model: Model = _MODEL,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running.")] = False,
    output: Annotated[Path, typer.Option(help="Where report and chart are copied to.")] = Path("demo-output"),
    data_dir: Annotated[Path, typer.Option(help="Where the demo's server keeps its data.")] = Path(".hecaton/demo"),
    config: Config = None,
    assignments: Assignments = None,
) -> None:
    """Watch an agent measure a folder with real tools: server, session, timeline, report and chart."""
    from agents.commands.demo import Demo

    settings = settings_from(config, assignments, data_dir=data_dir)
    raise typer.Exit(Demo(console, settings, folder, output=output, prompt=prompt, model=model, keep=keep).run())


@app.command()
def doctor(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    config: Config = None,
    assignments: Assignments = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check that everything the server needs is here, and say what to do about what is not."""
    from agents.commands.doctor import doctor as examine

    settings = settings_from(config, assignments, host=host, port=port, data_dir=data_dir)
    raise typer.Exit(examine(console, settings, as_json=as_json))


@app.command()
def version() -> None:
    """Print the version."""
    console.print(version_of("hecaton"))


@sessions_app.command("list")
def sessions_list(
    url: Url = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 20,
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones too.")] = False,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """List the newest sessions."""
    from agents.commands.sessions import list_sessions

    list_sessions(console, client_from(url, data_dir, config, api_key), limit=limit, archived=archived)


@sessions_app.command("show")
def sessions_show(
    session: SessionId,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Show a session's whole history and its use."""
    from agents.commands.sessions import show_session

    show_session(console, client_from(url, data_dir, config, api_key), session)


@sessions_app.command("kill")
def sessions_kill(
    session: SessionId,
    archive: Annotated[bool, typer.Option("--archive", help="Then archive it: it accepts nothing more.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Then delete it, its history and its files.")] = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Interrupt a session's turn; with a flag, archive or delete the session."""
    from agents.commands.sessions import kill_session

    kill_session(console, client_from(url, data_dir, config, api_key), session, archive=archive, delete=delete)


def main() -> None:
    """Run the command line; faults that a person can mend are one message, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    errors = Console(stderr=True, highlight=False)
    try:
        app()
    except CommandFailed as failure:
        errors.print(Text(f"hecaton: {failure}", style="red"), soft_wrap=True)
        sys.exit(failure.exit_code)
    except HecatonError as failure:
        errors.print(Text(f"hecaton: {failure.message}", style="red"), soft_wrap=True)
        sys.exit(2)
    except Exception as failure:
        # Named border: the SDK's refusals become one line; anything else is a fault of ours and keeps its traceback.
        if type(failure).__module__.partition(".")[0] != "anthropic":
            raise
        errors.print(Text(f"hecaton: the server refused: {failure}", style="red"), soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
