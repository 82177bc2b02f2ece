"""The replay plan that the sessions play: tool rounds with effects that can be counted, in eleven kinds of session.

A plan is a pure function of the conversation, so a session says the same whoever plays it (``script``).
"""

from __future__ import annotations

from typing import Any

from tests.chaos import resource_plan
from tests.chaos.script import HAND, Script

CLOSINGS = 8
"""Closing turns that a plan has; a client takes as many as it needs until one of them succeeds."""
LONG = 60
"""Sleep of the call that is interrupted, in seconds."""


def _round(script: Script, number: int, port: int) -> None:
    """Add one round of the usual work; shapes alternate."""
    label, path = f"r{number}", f"/workspace/f{number // 4}.txt"
    match number % 4:
        case 0:
            script.call(script.bash(label, port), text=True)
        case 1:
            script.writes[path] = f"file of {script.kind} {number}\n" * 50
            write = {"name": "write", "input": {"file_path": path, "content": script.writes[path]}}
            script.call(write, script.bash(label, port))
        case 2:
            script.call({"name": "read", "input": {"file_path": path}}, script.bash(label, port))
        case _:
            script.call(script.bash(label, port), script.bash(f"{label}b", port, carries=False))


def _work(script: Script, rounds: int, port: int) -> None:
    for number in range(rounds):
        _round(script, number, port)
        if number == rounds // 2 - 1:
            script.say()
    script.say()


def _ask(script: Script, rounds: int, port: int) -> None:
    """Each command is asked for; the second is refused, and asked for again by the third."""
    for number in range(rounds):
        script.call(script.bash(f"r{number}", port))
    script.denied = "r1"
    script.say()


def _custom(script: Script, rounds: int, port: int) -> None:
    """Each round also asks the client something."""
    for number in range(rounds):
        question = {"name": "weather", "as": f"c{number}", "input": {"city": f"city {number}"}}
        script.call(question, script.bash(f"r{number}", port))
    script.say()


def _stop(script: Script, rounds: int, port: int) -> None:
    """One call would take a minute and is interrupted."""
    script.call(script.bash("r0", port))
    script.call(script.bash("r1", port, after=f"sleep {LONG}"))
    script.turns += 1
    script.interrupted = "r1"
    script.call({"name": "bash", "input": {"restart": True}})  # an interrupted command may take its shell with it
    for number in range(2, rounds):
        script.call(script.bash(f"r{number}", port))
    script.say()


def _talk(script: Script, rounds: int, port: int) -> None:
    """Long texts between the calls, a turn each."""
    for number in range(rounds):
        script.call(script.bash(f"r{number}", port, after="true"))
        script.say(length=3)


def _served(script: Script, rounds: int, port: int) -> None:
    """No sandbox: the effects are a hand's, one call in each round, two at once in every other."""
    for number in range(rounds):
        calls = [script.feel(f"r{number}")]
        if number % 2:
            # Made up for by later calls, but itself only for itself: two at once must not do the same.
            script.labels[f"r{number}b"] = len(script.steps)
            alone = {"effects": f"{{{{session_id}}}}/r{number}b"}
            calls.append({"name": f"mcp__{HAND}__feel", "as": f"r{number}b", "input": alone})
        script.call(*calls, text=number == 0)
    script.say()


def _deployed(script: Script, rounds: int, port: int) -> None:
    """The usual work, begun by a run of a deployment."""
    script.begun = True
    _work(script, rounds, port)


_KINDS = {
    "work": _work,
    "ask": _ask,
    "custom": _custom,
    "stop": _stop,
    "talk": _talk,
    "served": _served,
    "elsewhere": _work,
    "mounted": resource_plan.mounted,
    "team": resource_plan.team,
    "judged": resource_plan.judged,
    "deployed": _deployed,
}
KINDS = tuple(_KINDS)


def scripts(rounds: int, port: int) -> dict[str, Script]:
    """Return the scripts of all kinds, with effects felt by the server on *port*."""
    made: dict[str, Script] = {}
    for kind, fill in _KINDS.items():
        script = made[kind] = Script(kind)
        fill(script, rounds, port)
        for _ in range(0 if script.each_turn else CLOSINGS):
            script.close_by_hand() if kind == "served" else script.close(port)
    return made


def plan_file(made: dict[str, Script], port: int) -> dict[str, Any]:
    """Return the content of the plan file. Answers take a moment, so that deaths meet them half said."""
    pace = {"step_seconds": 0.4, "characters_per_second": 200}
    plans: list[dict[str, Any]] = [
        {"name": kind, "when": f"^chaos-{kind} ", "pace": pace, "steps": script.steps, "each_turn": script.each_turn}
        for kind, script in made.items()
    ]
    helper = {"name": "helper", "when": resource_plan.TASK, "pace": pace, "steps": resource_plan.helper(port).steps}
    return {"plans": [*plans, helper, *resource_plan.GRADERS]}
