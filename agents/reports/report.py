"""What a report is made of; what a run does not have is left out, and the page says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.economics.roi.evaluation import Evaluation
from agents.experiments.analysis.analysis import Analysis
from agents.experiments.figures_of_rounds import RoundFigures
from agents.experiments.model.validation import Comparison
from agents.experiments.plan import Plan
from agents.reports.sample import Sample


@dataclass(frozen=True, slots=True)
class Report:
    """One experiment, to be shown."""

    title: str
    plan: Plan
    sample: Sample
    """Rows of its trace (:func:`agents.reports.sample.sample`)."""
    analysis: Analysis
    rounds: Sequence[RoundFigures] = ()
    """What GPUs and hands did; utilisation and money come from here."""
    machine: Mapping[str, Any] = field(default_factory=lambda: {})
    """Where and how it ran (``agents.experiments.running.machine``)."""
    validation: Sequence[Comparison] = ()
    """How far the discrete-event model is from it."""
    money: Evaluation | None = None
    """What the change is worth, by a scenario's inputs."""
