"""``hecaton experiment run``: the rounds of a plan, each topology on a platform that is started for its turn and ended.

A platform is what ``hecaton up`` starts with the same configuration file, which stays beside the results; where
``RAY_ADDRESS`` names a cluster, as inside ``ray job submit``, it joins that one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop
import yaml
from rich.console import Console
from rich.text import Text

from agents.commands.embedded import EmbeddedServer
from agents.commands.experiment_files import FIGURES, MACHINE, PLAN, TRACE
from agents.commands.failures import CommandFailed
from agents.commands.options import settings_from
from agents.commands.waiting import waiting
from agents.config import Settings
from agents.experiments.figures_of_rounds import FiguresFile
from agents.experiments.plan import Plan, Topology, read_plan
from agents.experiments.running.deploying import add_hands, hand_definitions, platform_settings, rounds_of
from agents.experiments.running.machine import machine_description
from agents.experiments.running.platform_api import PlatformApi
from agents.experiments.running.raw_http import Refused
from agents.experiments.running.rounds import Books, Round
from agents.experiments.trace_rows import TraceWriter
from agents.ports import free_port

_INTERRUPTED = 130


def run_experiment(
    console: Console,
    file: Path,
    out: Path | None,
    rounds: int | None,
    only: Sequence[str],
    page: Path | None = None,
    replayed: Path | None = None,
) -> int:
    """Run the experiment of *file* and, where a *page* is asked for, report on it; returns the exit code.

    *replayed* is a production trace that takes the place of the plan's. Raises InvalidRequest for a plan that is not
    right, CommandFailed for what does not fit it, and when a platform does not start or is lost.
    """
    plan = _replaying(read_plan(file), replayed)
    topologies = _chosen(plan, only)
    if plan.faults and "RAY_ADDRESS" in os.environ:
        raise CommandFailed(
            "faults: only processes of this machine can be killed, and RAY_ADDRESS names a cluster; unset it",
            exit_code=2,
        )
    plan = plan if rounds is None else plan.model_copy(update={"rounds": rounds})
    folder = (out or Path(".hecaton/experiments") / f"{plan.name}-{time.strftime('%Y%m%dT%H%M%S')}").absolute()
    if (folder / TRACE).exists():
        raise CommandFailed(f"{folder} holds a run already; name another folder with --out", exit_code=2)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MACHINE).write_text(json.dumps(machine_description(sys.argv), indent=1), encoding="utf-8")
    (folder / PLAN).write_text(yaml.safe_dump(plan.model_dump(mode="json")), encoding="utf-8")
    try:
        with _ended_by_sigterm(), TraceWriter(folder / TRACE) as trace:
            books = Books(trace, FiguresFile(folder / FIGURES), lambda line: console.print(Text(line)))
            run = _Run(console, plan, folder, books)
            for number, topology in rounds_of(topologies, plan.rounds):
                run.play(number, topology)
    except KeyboardInterrupt:
        console.print(Text(f"stopped; what was measured until then is in {folder}", style="yellow"), soft_wrap=True)
        return _INTERRUPTED
    console.print(Text(f"done; trace, figures and machine are in {folder}"), soft_wrap=True)
    if page is not None:
        from agents.commands.experiment_report import write_page

        write_page(console, folder, page)
    return 0


def _chosen(plan: Plan, only: Sequence[str]) -> list[Topology]:
    names = [each.name for each in plan.topologies]
    if unknown := set(only) - set(names):
        raise CommandFailed(f"--only {min(unknown)}: the plan has {', '.join(names)}", exit_code=2)
    return [each for each in plan.topologies if not only or each.name in only]


def _replaying(plan: Plan, trace: Path | None) -> Plan:
    """Return *plan* with *trace*, where one is given, in place of its production traces. Raises CommandFailed."""
    if trace is None:
        return plan
    if all(each.kind != "trace" for each in plan.arrivals):
        raise CommandFailed(f"--trace {trace}: the plan has no arrivals of kind trace", exit_code=2)
    if not trace.is_file():
        raise CommandFailed(f"--trace {trace}: there is no such file", exit_code=2)
    file = trace.absolute()
    arrivals = [each.model_copy(update={"trace": file}) if each.kind == "trace" else each for each in plan.arrivals]
    return plan.model_copy(update={"arrivals": arrivals})


class _Run:
    """The platforms of one experiment, one after the other."""

    def __init__(self, console: Console, plan: Plan, folder: Path, books: Books) -> None:
        self._console = console
        self._plan = plan
        self._folder = folder
        self._books = books
        # The server of a cluster that is joined stays when a platform goes, and with it its port.
        self._port = free_port() if "RAY_ADDRESS" in os.environ else None

    def play(self, number: int, topology: Topology) -> None:
        """Start the platform of a topology, play one round on it, end it. Raises CommandFailed, InvalidSettings."""
        told, place = (
            f"round {number + 1}, {topology.name}",
            self._folder / "platforms" / f"{number + 1}-{topology.name}",
        )
        place.mkdir(parents=True)
        place.chmod(0o755)  # sandboxes have users of their own, who must pass through
        asked = platform_settings(self._plan, topology)
        settings = self._settings(asked, place)
        server = EmbeddedServer(settings)
        try:
            with waiting(self._console, f"{told}: starting the platform"):
                url = server.start()
            uvloop.run(self._round(Round(self._plan, topology, number, asked, self._books), topology, settings, url))
            if self._port is None:
                server.kill()  # nothing of it is needed any more; a cluster that was joined is left as it was found
        except (Refused, OSError) as failure:
            raise CommandFailed(f"{told}: the platform is lost: {failure}") from failure
        finally:
            with waiting(self._console, f"{told}: ending the platform"):
                server.stop()
        # Of a round that went well nobody needs the sessions' logs and files any more, and there may be many.
        shutil.copy(server.log, place / server.log.name)
        shutil.rmtree(settings.data_dir, ignore_errors=True)

    def _settings(self, asked: Mapping[str, Any], place: Path) -> Settings:
        """Write the platform's configuration file, and read it as ``hecaton up`` would. Raises InvalidSettings."""
        config = place / "config.yaml"
        config.write_text(yaml.safe_dump(asked), encoding="utf-8")
        return settings_from(config, data_dir=place / "data", port=self._port or free_port())

    async def _round(self, round_: Round, topology: Topology, settings: Settings, url: str) -> None:
        key = next((each.get_secret_value() for each in settings.principals.values()), "")
        api = PlatformApi(url, key)
        try:
            await add_hands(api, hand_definitions(self._plan, topology, settings.data_dir / "hands"))
            await round_.play(api)
        finally:
            api.close()


@contextmanager
def _ended_by_sigterm() -> Generator[None]:
    """Let SIGTERM do what Ctrl-C does: ``ray job stop`` sends it, and the platform must not outlive the run."""
    asked = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    # Where a shell script starts it in the background, it comes with SIGINT ignored.
    interrupted = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, asked)
        signal.signal(signal.SIGINT, interrupted)
