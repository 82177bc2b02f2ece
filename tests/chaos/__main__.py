"""``python -m tests.chaos``: kill things under load and see that nothing was lost. Exit status 1 when something was."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import signal
import sys
import time
from pathlib import Path
from typing import get_args

from actors.reaper import adopt_orphans, end_descendants, go_on_guarded
from tests.chaos.options import SMALL, Options, Store
from tests.chaos.report import detail, lines, publish
from tests.chaos.run import Course, Result
from tests.chaos.site import Site

_STARTED = time.monotonic()


def say(text: str) -> None:
    sys.stdout.write(f"[{time.monotonic() - _STARTED:6.1f}] {text}\n")
    sys.stdout.flush()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--store", choices=[*get_args(Store), "both"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="the course of the test suite: about three minutes")
    parser.add_argument("--sessions", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--interval", type=float, help="mean seconds between two actions")
    parser.add_argument("--only", action="append", default=[], help="an action that may happen (all by default)")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="steady load and the slope of each part's memory")
    parser.add_argument("--undisturbed", action="store_true", help="a soak without actions")
    parser.add_argument("--publish", action="store_true", help="write the result into docs/reliability.md")
    parser.add_argument("--json", type=Path, help="where everything that was seen goes")
    parser.add_argument("--keep", action="store_true", help="leave the scratch directory for a look")
    return parser.parse_args()


def courses(chosen: argparse.Namespace) -> list[Options]:
    """Return the runs that were asked for, one per store."""
    base = SMALL if chosen.small else Options()
    if chosen.soak:
        base = Options.soaking(chosen.soak, disturbed=not chosen.undisturbed)
    names = ("seed", "sessions", "rounds", "kills", "interval")
    given = {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}
    stores: tuple[Store, ...] = get_args(Store) if chosen.store == "both" else (chosen.store,)
    return [dataclasses.replace(base, store=store, only=tuple(chosen.only), **given) for store in stores]


def run_one(options: Options, *, keep: bool) -> Result:
    site = Site(options)
    say(f"{options.store}: {options.sessions} sessions, {options.kills} kills, seed {options.seed}; {site.scratch}")
    try:
        return asyncio.run(Course(options, site, say).go())
    finally:
        if not keep:
            site.remove()


def _interrupt(*_: object) -> None:
    """End as after Ctrl-C: everything is taken down on the way."""
    raise KeyboardInterrupt


def main() -> int:
    chosen = arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    go_on_guarded()
    adopt_orphans()  # here, too: what outlives its own is looked for below this process
    try:
        results = [run_one(options, keep=chosen.keep) for options in courses(chosen)]
    finally:
        end_descendants()
    for result in results:
        sys.stdout.write("\n".join(lines(result)) + "\n")
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps([detail(result) for result in results]), encoding="utf-8")
    if chosen.publish:
        publish(results, sys.argv[1:], section="soak" if chosen.soak else "chaos")
    return 1 if any(result.violations for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
