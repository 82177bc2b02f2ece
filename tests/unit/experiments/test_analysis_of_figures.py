"""What an analysis makes of the rounds' figures: nothing of what they do not say."""

from __future__ import annotations

from agents.experiments.analysis.analysis import analyse
from tests.unit.experiments.experiment_rows import figures, plan_of, session

TOPOLOGIES = ("monolith", "decoupled")


def test_gpus_of_brains_that_do_not_tell_have_no_utilisation() -> None:
    rows = [session(each, round=number, topology=name) for each in (0, 1) for number in (0, 1) for name in TOPOLOGIES]
    told = [figures(round=number, topology=name) for number in (0, 1) for name in TOPOLOGIES]
    untold = [each.model_copy(update={"gpu_busy_seconds": None}) for each in told]
    found = analyse(plan_of(), rows, untold)
    assert [cell.rates.gpu_utilisation for cell in found.cells] == [None, None]
    assert all(cell.rates.usd_per_session and cell.rates.hand_utilisation for cell in found.cells)
    assert "gpu_utilisation" not in {each.measure for each in found.comparisons}
    found = analyse(plan_of(), rows, [*told[:2], *untold[2:]])
    assert [cell.rates.gpu_utilisation for cell in found.cells] == [0.6, 0.6]
