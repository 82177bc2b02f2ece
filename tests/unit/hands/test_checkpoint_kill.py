"""A killed host loses nothing that was acknowledged: SIGKILL between calls and at every kind of step towards a
checkpoint; then the session goes on, on the same machine or elsewhere."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agents.hands.leftovers import find_leftovers
from agents.hands.tool_output import NO_OUTPUT
from tests.unit.hands.conftest import is_notice

_ids = itertools.count()


class Model:
    """What the files ought to be after so many calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.files: dict[str, str] = {}

    def command(self) -> str:
        """Return the next call: every call changes, adds and removes something."""
        n = self.calls + 1
        return (
            f"mkdir -p d{n % 3}; echo {n} > f{n % 5}; rm -f f{(n + 2) % 5}; echo {n} >> log; "
            f"rm -rf d{(n + 1) % 3}; [ -d d{n % 3} ] && echo {n} > d{n % 3}/x"
        )

    def after(self) -> Model:
        """Return the model after one call more."""
        n = self.calls + 1
        later = Model()
        later.calls = n
        later.files = {name: text for name, text in self.files.items() if not name.startswith(f"d{(n + 1) % 3}/")}
        later.files.pop(f"f{(n + 2) % 5}", None)
        later.files[f"f{n % 5}"] = later.files[f"d{n % 3}/x"] = f"{n}"
        later.files["log"] = f"{self.files.get('log', '')} {n}".strip()
        return later


class Victim:
    """A host process."""

    def __init__(self, place: Path, machine: str, step: int) -> None:
        self.root = place / machine
        argv = [sys.executable, "-m", "tests.unit.hands.checkpoint_victim", str(self.root), str(place / "store")]
        self._process = subprocess.Popen(
            [*argv, machine, str(step)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def call(self, workspace: dict[str, Any], command: str) -> dict[str, Any] | None:
        """Run one command; None when the host dies over it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"id": f"call_{next(_ids)}", "command": command, "workspace": workspace}
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def files_in(result: dict[str, Any]) -> dict[str, str]:
    """Read what _LIST printed."""
    text = "".join(block["text"] for block in result["content"] if not is_notice(block))
    return dict(line.split(": ") for line in text.splitlines() if line != NO_OUTPUT)


_LIST = 'for f in $(find . -type f | cut -c3- | sort); do echo "$f: $(echo $(cat $f))"; done'


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_was_acknowledged_survives_the_death_of_its_host(place: Path, seed: int) -> None:
    dice = random.Random(seed)
    model, workspace = Model(), dict[str, Any]()
    for number in range(5):
        machine = f"m{dice.randrange(3)}"
        # The first checkpoint of a life takes some 30 steps, a later one some 20; the last life is not cut short.
        victim = Victim(place, machine, dice.choice([0, dice.randrange(1, 40), dice.randrange(40, 400)]))
        try:
            for turn in range(dice.randrange(2, 25)):
                if turn == 0 and number > 0:
                    result = victim.call(workspace, _LIST)
                    if result is None:
                        break
                    found = files_in(result)
                    # The call that was under way may have been finished, and then counts as done.
                    model = next(m for m in (model, model.after()) if m.files == found)
                else:
                    result = victim.call(workspace, model.command())
                    if result is None:
                        break
                    model = model.after()
                version = max(workspace.get("version", 0), result["version"] or 0)
                workspace = {"host": result["host"], "version": version}
        finally:
            victim.kill()
        if machine == "m2" or number == 3:  # this machine is gone for good
            _wait_for_sandboxes(victim.root)
            # Not by shutil: an `rm` that the host had started may still be at it.
            subprocess.run(["rm", "-rf", "--", str(victim.root)], check=True)
    survivor = Victim(place, "survivor", 0)
    try:
        result = survivor.call(workspace, _LIST)
        assert result is not None
        assert files_in(result) in (model.files, model.after().files)
    finally:
        survivor.kill()


def _wait_for_sandboxes(root: Path) -> None:
    deadline = time.monotonic() + 10
    while any(left.kind == "process" for left in find_leftovers(root)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
