"""``hecaton run`` and ``hecaton chat``: one prompt, or many, to an agent on a running server."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from dataclasses import dataclass

from anthropic import Anthropic
from rich.console import Console
from rich.text import Text

from agents.commands.client import ensure_agent, ensure_environment, open_client, server_url, toolset
from agents.commands.confirm import Confirmer, Policy
from agents.commands.conversation import Conversation, Outcome
from agents.commands.embedded import EmbeddedServer
from agents.commands.failures import CommandFailed
from agents.commands.platform import refuse_second
from agents.commands.summary import usage_table
from agents.commands.timeline_view import TimelineView
from agents.commands.waiting import waiting
from agents.config import Settings

_SYSTEM = "You work in a Linux sandbox. Use your tools to do what the user asks, then say briefly what you did."


@dataclass(frozen=True, slots=True)
class Whom:
    """Whom to talk to: an existing session, or a new one of an existing or default agent."""

    model: str
    agent: str | None = None
    environment: str | None = None
    session: str | None = None
    ask: bool = False


def run(
    console: Console, settings: Settings, whom: Whom, prompt: str, *, url: str | None, embedded: bool, yes: bool
) -> int:
    """Send one prompt, show the turn, and return the exit code. Raises CommandFailed."""
    with _server(console, settings, url, embedded) as address:
        client = open_client(settings, address)
        session = whom.session or _new_session(client, whom, prompt[:60])
        outcome = _turn(console, client, session, prompt, _policy(console, yes))
        console.print(usage_table(client.beta.sessions.retrieve(session).to_dict(mode="json")))
        console.print(Text(f"session {session}", style="dim"))
        return exit_code(console, outcome)


def chat(console: Console, settings: Settings, whom: Whom, *, url: str | None, yes: bool) -> int:
    """Talk until the user leaves; returns the exit code. Raises CommandFailed."""
    address = server_url(settings, url)
    client = open_client(settings, address)
    session = whom.session or _new_session(client, whom, "chat")
    view = TimelineView(console)
    talk = Conversation(client, session, show=view.show, answer=Confirmer(console, _policy(console, yes), view.paused))
    console.print(Text(f"session {session}; an empty line or Ctrl-D leaves, Ctrl-C interrupts the agent", style="dim"))
    if whom.session:
        with view.live():
            talk.attach()
    while prompt := _next_prompt(console):
        with view.live():
            outcome = talk.say(prompt)
        if outcome.stop in ("terminated", "deleted"):
            return exit_code(console, outcome)
    console.print(Text(f"go on with: hecaton chat --session {session} --url {address}", style="dim"), soft_wrap=True)
    return 0


def exit_code(console: Console, outcome: Outcome) -> int:
    """Say why a turn did not succeed; 0 when it did, 130 after an interrupt, else 1."""
    if outcome.succeeded:
        return 0
    if outcome.stop == "interrupted":
        return 130
    console.print(Text(f"The agent did not finish: {outcome.stop}. {outcome.error or ''}", style="bold red"))
    return 1


def _turn(console: Console, client: Anthropic, session: str, prompt: str, policy: Policy) -> Outcome:
    view = TimelineView(console)
    talk = Conversation(client, session, show=view.show, answer=Confirmer(console, policy, view.paused))
    with view.live():
        return talk.say(prompt)


def _new_session(client: Anthropic, whom: Whom, title: str) -> str:
    environment = whom.environment or ensure_environment(client, "hecaton-cli")
    policies = {"bash": "always_ask", "write": "always_ask", "edit": "always_ask"} if whom.ask else {}
    agent = whom.agent or ensure_agent(
        client,
        {
            "name": "hecaton-cli-asking" if whom.ask else "hecaton-cli",
            "model": whom.model,
            "system": _SYSTEM,
            "tools": toolset(**policies),
        },
    )
    return client.beta.sessions.create(agent=agent, environment_id=environment, title=title).id


def _policy(console: Console, yes: bool) -> Policy:
    if yes:
        return "allow"
    return "ask" if console.is_terminal and sys.stdin.isatty() else "deny"


def _next_prompt(console: Console) -> str:
    try:
        return console.input(Text("\nyou> ", style="bold cyan")).strip()
    except (EOFError, KeyboardInterrupt):
        console.print()
        return ""


@contextlib.contextmanager
def _server(console: Console, settings: Settings, url: str | None, embedded: bool) -> Generator[str]:
    """Yield the URL of the server to use; an embedded one lives as long as the body."""
    if not embedded:
        yield server_url(settings, url)
        return
    if url:
        raise CommandFailed("--embedded starts a server of its own: leave --url out", exit_code=2)
    refuse_second(settings)
    server = EmbeddedServer(settings)
    try:
        with waiting(console, "starting a server"):
            server.start()
        yield server.url
    finally:
        with waiting(console, "stopping the server"):
            server.stop()
