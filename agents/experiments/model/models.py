"""The model of each of a plan's topologies, as one run of it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.experiments.model.calibration import Calibration, NothingToLearn, calibrate, lowest_loads
from agents.experiments.model.queueing.inputs import Hands, System
from agents.experiments.model.turn_rows import Source, Turns
from agents.experiments.plan import Plan, Topology
from agents.experiments.running.deploying import hand_definitions
from agents.hand_settings import HandDefinition
from agents.settings_base import as_mapping, laid_over

SANDBOXES = "sandboxes"
_SANDBOX_CALLS = 100_000
"""Each session has a sandbox of its own: calls in them do not wait for each other."""
_AS_DEFINED = ("min_replicas", "max_replicas", "concurrency", "idle_seconds")


@dataclass(frozen=True, slots=True)
class Modelled:
    """A topology of the plan, as the model has it."""

    calibration: Calibration
    system: System


def models_of(plan: Plan, turns: Turns) -> dict[str, Modelled]:
    """Return the model of each of the plan's topologies that an open loop was played on, calibrated at its lowest load.

    Raises NothingToLearn when there is no such topology, or no session of one that is of use.
    """
    lowest = lowest_loads(turns)
    found = {each.name: _model(plan, each, lowest[each.name], turns) for each in plan.topologies if each.name in lowest}
    if not found:
        raise NothingToLearn("the trace has no open loop to learn from: arrivals of kind poisson or trace")
    return found


def _model(plan: Plan, topology: Topology, source: Source, turns: Turns) -> Modelled:
    settings = laid_over(plan.settings, topology.settings)
    learnt = calibrate(source, turns[source], plan.brain, plan.gpus)
    monolith: Mapping[Any, Any] = as_mapping(settings.get("monolith")) or {}
    base = System(
        topology.topology,
        plan.brain,
        gpus=plan.gpus,
        turns=monolith.get("turns") or None,
        hands=_hands(learnt.tools, hand_definitions(plan, topology, Path())),
    )
    return Modelled(learnt, learnt.system(base))


def _hands(tools: Iterable[str], definitions: Mapping[str, Mapping[str, Any]]) -> tuple[Hands, ...]:
    """Return the hands that run *tools*: each server's own (``crm`` runs ``crm.look``), and sandboxes for the rest."""
    by_hand: dict[str, list[str]] = {}
    for tool in tools:
        hand, dot, _ = tool.partition(".")
        by_hand.setdefault(hand if dot else SANDBOXES, []).append(tool)
    usual = {name: field.default for name, field in HandDefinition.model_fields.items()}
    found: list[Hands] = []
    for name in sorted(set(by_hand) - {SANDBOXES}):
        own = {**usual, **definitions.get(name, {})}
        found.append(Hands(name, tuple(by_hand[name]), **{key: own[key] for key in _AS_DEFINED}))
    return (*found, Hands(SANDBOXES, concurrency=_SANDBOX_CALLS))
