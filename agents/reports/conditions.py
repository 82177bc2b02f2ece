"""How an experiment was run: what a reader must know to judge its figures, or to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, cast

from agents.experiments.plan import Plan
from agents.reports.drawing import Missing
from agents.reports.tables import Code, Facts


def conditions(plan: Plan, machine: Mapping[str, Any], share: float) -> list[Facts | Code | Missing]:
    """Tell the *plan*, the *machine* and its command; *share* is how many of all sessions the pictures show."""
    facts = [*_planned(plan), *_times(plan)]
    if share < 1:
        facts.append(("sample", f"the pictures show {share:.3g} of all sessions; tables count them all"))
    parts: list[Facts | Code | Missing] = [Facts(facts)]
    if not machine:
        return [*parts, Missing("Machine", "the run did not say where it ran")]
    known = [(name, value) for name, value in machine.items() if name != "command" and value is not None]
    parts.append(Facts([(name.replace("_", " "), _told(name, value)) for name, value in known]))
    if command := machine.get("command"):
        parts.append(Code(f"$ {shlex.join(command)}"))
    return parts


def _planned(plan: Plan) -> list[tuple[str, str]]:
    goals = plan.workloads.items()
    return [
        ("experiment", f"{plan.name}, seed {plan.seed}"),
        ("rounds", f"{plan.rounds} of {plan.seconds:g} s for each topology and load, in alternating order"),
        ("warm-up", f"the first {plan.warm_up_seconds:g} s of a round, which no figure counts"),
        ("patience", f"{plan.patience_seconds:g} s for sessions under way at a round's end"),
        ("topologies", ", ".join(f"{each.name} ({each.topology})" for each in plan.topologies)),
        (
            "workloads",
            "; ".join(
                f"{name}: ends within {goal.seconds:g} s, first text within {goal.first_seconds:g} s"
                for name, goal in goals
            ),
        ),
        (
            "arrivals",
            "; ".join(f"{each.kind} at {', '.join(f'{load:g}' for load in each.load)}" for each in plan.arrivals),
        ),
        ("GPUs", f"{plan.gpus}, the same for every topology"),
        *_faults(plan),
    ]


def _faults(plan: Plan) -> list[tuple[str, str]]:
    if plan.faults is None:
        return []
    every, parts = plan.faults.every_seconds, ", ".join(plan.faults.parts)
    return [("faults", f"a process is killed every {every:g} s on average: {parts}, at the same moments everywhere")]


def _times(plan: Plan) -> list[tuple[str, str]]:
    """The service times that are simulated, which must be told wherever figures are shown."""
    hands = ("systems behind the hands", _told("", plan.hands.model_dump()))
    if "brains" in plan.settings:
        return [hands]
    return [("simulated brain, per GPU", _told("", plan.brain.model_dump())), hands]


def _told(name: str, value: object) -> str:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value)
        return ", ".join(f"{key.replace('_', ' ')} {_told(key, each)}" for key, each in items.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, cast("Sequence[object]", value)))
    if name.endswith("bytes") and isinstance(value, int):
        return f"{value / 2**30:.1f} GiB"
    return f"{value:g}" if isinstance(value, float) else str(value)
