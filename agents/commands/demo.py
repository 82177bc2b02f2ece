"""``hecaton demo``: a real agent, on a real folder, from nothing to a report, through the public API only.

The folder is copied into the session's workspace by the demo's own server (``sandbox.seed_dir``);
the agent never touches the original.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from anthropic import Anthropic
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agents.commands.client import ensure_agent, ensure_environment, open_client, toolset
from agents.commands.confirm import Confirmer
from agents.commands.conversation import Conversation, Outcome
from agents.commands.embedded import EmbeddedServer
from agents.commands.failures import CommandFailed
from agents.commands.outputs import collect_outputs
from agents.commands.platform import refuse_second
from agents.commands.summary import usage_rows
from agents.commands.talk import exit_code
from agents.commands.timeline_view import TimelineView
from agents.commands.waiting import waiting
from agents.config import Settings
from agents.hands.incarnation import host_names, host_root
from agents.hands.stand_in import traversable_root
from agents.ports import free_port

REPORT = "report.md"
PROMPT = """\
A copy of the folder "{name}" is in your workspace, /workspace. Please measure it.

1. Look around first: what is there, and how is it organised?
2. Write a program, measure.py (Python, standard library only), that counts files and lines, splits lines into \
code, comments and blanks per language, names the biggest files, checks its own totals against an independent \
count, and draws a bar chart as SVG.
3. Run it. If it is wrong or fails, find out why, mend it with the edit tool (edits ask me first) and run it again.
4. Write /mnt/session/outputs/report.md with the real figures and put the chart at /mnt/session/outputs/chart.svg.
5. End with a short summary of what you found.
"""
_SYSTEM = (
    "You are a careful software engineer in a Linux sandbox without network. The user's files are in /workspace; "
    "results belong in /mnt/session/outputs. Report only figures that a command or program of yours has printed."
)


class Demo:
    """One run of the demonstration; ``run`` returns the exit code."""

    def __init__(
        self,
        console: Console,
        settings: Settings,
        folder: Path,
        *,
        output: Path,
        prompt: str | None,
        model: str,
        keep: bool,
    ) -> None:
        self._console = console
        self._folder = folder.expanduser().resolve()
        self._output = output.expanduser().absolute()
        self._prompt = prompt or PROMPT.format(name=self._folder.name or "/")
        self._own_prompt = prompt is not None
        self._model = model
        self._keep = keep
        sandbox = settings.sandbox.model_copy(update={"seed_dir": self._folder})
        self._settings = settings.model_copy(update={"port": free_port(), "sandbox": sandbox})

    def run(self) -> int:
        """Start a server, let the agent work, tell what came of it, end the server. Raises CommandFailed."""
        if not self._folder.is_dir():
            raise CommandFailed(f"{self._folder} is not a folder; name one: hecaton demo DIR", exit_code=2)
        refuse_second(self._settings)
        self._introduce()
        server = EmbeddedServer(self._settings)
        left = False
        try:
            self._start(server)
            code = self._work(server)
            left = self._keep
            return code
        finally:
            if left:
                server.leave()
            else:
                self._stop(server)

    def _introduce(self) -> None:
        if self._settings.engine == "claude":
            brain = f"Claude ({self._model}) at {self._settings.brain.base_url or 'the Anthropic API'}"
        else:
            brain = (
                "replay: a written plan is played, NO MODEL IS CALLED; the tools' work is real all the same\n"
                "         (set ANTHROPIC_API_KEY and Claude solves the same task)"
            )
        self._console.print(
            Panel(
                Text(f"folder   {self._folder} (a copy; the original is not touched)\nbrain    {brain}"),
                title="Hecaton demo",
                title_align="left",
                border_style="cyan",
            )
        )
        if self._own_prompt and self._settings.engine == "replay":
            self._console.print(Text("note: the replay brain plays its plan whatever the prompt says", style="yellow"))

    def _start(self, server: EmbeddedServer) -> None:
        begun = time.monotonic()
        self._console.print(Text("starting gateway, harness, brain and sandbox host on Ray …", style="dim"))
        with waiting(self._console, "starting"):
            url = server.start()
        record = server.record()
        dashboard = f", Ray dashboard at {record.dashboard}" if record and record.dashboard else ""
        self._console.print(Text(f"ready after {time.monotonic() - begun:.1f} s at {url}{dashboard}\n", style="dim"))

    def _stop(self, server: EmbeddedServer) -> None:
        with waiting(self._console, "stopping the server"):
            server.stop()
        self._console.print(Text("the server is down", style="dim"))

    def _work(self, server: EmbeddedServer) -> int:
        client = open_client(self._settings, server.url)
        session = self._new_session(client)
        outcome = self._talk(client, session)
        files = collect_outputs(self._outputs_of(session), self._output)
        self._tell(client, session, server, outcome, files)
        if outcome.succeeded and not any(file.name == REPORT for file in files):
            self._console.print(Text(f"The agent ended without writing {REPORT}.", style="bold red"))
            return 1
        return exit_code(self._console, outcome)

    def _new_session(self, client: Anthropic) -> str:
        agent = ensure_agent(
            client,
            {
                "name": "hecaton-demo",
                "model": self._model,
                "system": _SYSTEM,
                "tools": toolset(edit="always_ask"),
            },
        )
        environment = ensure_environment(client, "hecaton-demo")
        title = f"Measure {self._folder.name}"[:100]
        return client.beta.sessions.create(agent=agent, environment_id=environment, title=title).id

    def _talk(self, client: Anthropic, session: str) -> Outcome:
        view = TimelineView(self._console)
        asks = self._console.is_terminal and sys.stdin.isatty()
        confirmer = Confirmer(self._console, "ask" if asks else "allow", view.paused)
        with view.live():
            return Conversation(client, session, show=view.show, answer=confirmer).say(self._prompt)

    def _outputs_of(self, session: str) -> Path:
        # The same rule as the sandbox host's: below a closed directory it keeps its files elsewhere.
        roots = [host_root(self._settings, host) for host in host_names(self._settings)]
        places = [traversable_root(root) / session / "outputs" for root in roots]
        return next((place for place in places if place.exists()), places[0])

    def _tell(
        self, client: Anthropic, session: str, server: EmbeddedServer, outcome: Outcome, files: list[Path]
    ) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for label, value in usage_rows(client.beta.sessions.retrieve(session).to_dict(mode="json")):
            table.add_row(label, value)
        if self._settings.engine == "replay":
            table.add_row("", "(tokens and their cost are simulated: no model was called)")
        for file in files:
            table.add_row("result", str(file))
        record = server.record()
        table.add_row("server", server.url)
        if record and record.dashboard:
            table.add_row("Ray dashboard", record.dashboard)
        table.add_row("session", session)
        good = outcome.succeeded
        title = "done" if good else outcome.stop
        self._console.print()
        self._console.print(Panel(table, title=title, title_align="left", border_style="green" if good else "red"))
        if self._keep:
            folder = self._settings.data_dir
            self._console.print(
                Text(f"The server stays up. Look back: hecaton sessions show {session} --data-dir {folder}"),
                soft_wrap=True,
            )
            self._console.print(Text(f"End it: hecaton down --data-dir {folder}"), soft_wrap=True)
