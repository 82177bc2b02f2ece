"""How many GPUs a load takes (bug class: a number that is too few, one more than needed, or no end of looking)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.brains.service_time import ServiceTime
from agents.errors import InvalidRequest
from agents.experiments.model import capacity
from agents.experiments.model.calibration import Calibration
from agents.experiments.model.capacity import Need, gpus_needed
from agents.experiments.model.models import SANDBOXES, Modelled, models_of
from agents.experiments.model.queueing.inputs import Empirical, Hands, Overhead, Shape, Step, System, Workload
from agents.experiments.model.turn_rows import Source, turns_of
from agents.experiments.plan import Plan
from tests.unit.experiments import test_calibration
from tests.unit.reports import synthetic

PLAN = Plan.model_validate(
    {
        "name": "grow",
        "topologies": [{"name": "decoupled"}, {"name": "monolith", "topology": "monolith"}],
        "baseline": "monolith",
        "workloads": {"support": {"seconds": 9, "first_seconds": 8}},
        "arrivals": [{"kind": "poisson", "load": [1]}],
        "gpus": 1,
    }
)
# Thinks for 0.4 s and has hands at work for 3.6 s, so a monolith uses a tenth of its places.
BRAIN = ServiceTime(prefill_tokens_per_second=1e9, step_seconds=0.02, step_seconds_per_answer=0, max_batch=4)
WORK = Workload("support", (Shape((Step(1, 10, ("crm.look",)), Step(1, 10))),))
TOOLS = {"crm.look": Empirical.fixed(3.6)}
LEARNT = Calibration(Source("decoupled", "poisson", 1.0), 1, (WORK,), TOOLS, Overhead(), 0.0, parallel_calls=True)
SYSTEM = System("decoupled", BRAIN, tools=TOOLS, hands=(Hands("crm", ("crm.look",), concurrency=4), Hands(SANDBOXES)))


@pytest.fixture(autouse=True)
def few_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "_LEAST_SESSIONS", 500)


def need(topology: str, load: float, plan: Plan = PLAN) -> Need | None:
    system = replace(SYSTEM, topology=topology)
    return gpus_needed(plan, topology, Modelled(LEARNT, system), load)


def test_a_monolith_takes_as_many_more_gpus_as_its_places_stand_idle() -> None:
    load = 10.0
    decoupled, monolith = need("decoupled", load), need("monolith", load)
    assert decoupled is not None and monolith is not None
    # 10 x 0.4 s of thought on four places each are one GPU full; a monolith holds them for 10 x 4 s: ten GPUs full.
    assert decoupled.gpus == 2
    assert 10 < monolith.gpus <= 25
    assert monolith.thinking_share < 0.11
    assert decoupled.sessions_per_gpu_hour == pytest.approx(load * 3600 / decoupled.gpus)
    # 10 x 3.6 s, four times its root more for peaks, in places of four.
    assert decoupled.hand_replicas == pytest.approx((36 + 4 * 6) / 4)
    assert monolith.hand_replicas == 0
    assert decoupled.met_share >= 0.95


def test_a_stricter_goal_takes_more() -> None:
    """4.03 s leave one step and a half for waiting."""
    usual, goal = need("decoupled", 10.0), PLAN.workloads["support"].model_copy(update={"seconds": 4.03})
    stricter = need("decoupled", 10.0, PLAN.model_copy(update={"workloads": {"support": goal}}))
    assert usual is not None and stricter is not None
    assert stricter.gpus > usual.gpus


def test_one_gpu_fewer_would_not_do() -> None:
    modelled = Modelled(LEARNT, replace(SYSTEM, topology="monolith"))
    found = gpus_needed(PLAN, "monolith", modelled, 18.0)
    assert found is not None
    probe = capacity._Probe(PLAN, modelled, 18.0)
    assert probe.run(found.gpus) is not None
    assert probe.run(found.gpus - 1) is None


@pytest.mark.parametrize(("topology", "load"), [("monolith", 18.0), ("decoupled", 60.0)])
def test_what_a_tenth_of_the_load_takes_leads_to_the_same(
    topology: str, load: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = need(topology, load)
    monkeypatch.setattr(capacity, "_MANY", 2)
    began_at: list[int] = []
    run = capacity._Probe.run

    def seen(self: capacity._Probe, gpus: int) -> object:
        began_at.append(gpus)
        return run(self, gpus)

    monkeypatch.setattr(capacity._Probe, "run", seen)
    found = need(topology, load)
    assert usual is not None and found is not None
    assert found.gpus == pytest.approx(usual.gpus, rel=0.05)
    less = need(topology, load / capacity._LESS)
    assert less is not None and capacity._LESS * less.gpus in began_at


def test_no_number_of_gpus_makes_a_turn_shorter_than_its_tools() -> None:
    goal = PLAN.workloads["support"].model_copy(update={"seconds": 3.9})
    assert need("decoupled", 0.5, PLAN.model_copy(update={"workloads": {"support": goal}})) is None


def test_a_load_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="load: must be above 0"):
        need("decoupled", 0)


def test_models_have_what_a_trace_and_its_plan_say() -> None:
    rows = [*test_calibration.rows(), *(replace(row, topology="slots") for row in test_calibration.rows())]
    plan = PLAN.model_copy(
        update={
            "topologies": [
                PLAN.topologies[0].model_copy(update={"settings": {"hands": {"crm": {"concurrency": 3}}}}),
                PLAN.topologies[1].model_copy(update={"name": "slots", "settings": {"monolith": {"turns": 2}}}),
            ],
            "gpus": 2,
        }
    )
    models = models_of(plan, turns_of(rows))
    assert list(models) == ["decoupled", "slots"]
    system = models["decoupled"].system
    assert (system.topology, system.gpus, system.turns) == ("decoupled", 2, None)
    assert [(each.name, each.tools) for each in system.hands] == [("crm", ("crm.look",)), (SANDBOXES, ())]
    assert system.hands[0].concurrency == 3
    assert system.hands_of("bash").name == SANDBOXES
    assert (models["slots"].system.topology, models["slots"].system.slots) == ("monolith", 2)
    with pytest.raises(InvalidRequest, match="no open loop to learn from"):
        models_of(plan, turns_of(replace(row, arrivals="closed") for row in rows))


def test_a_topology_of_a_made_up_experiment_is_modelled() -> None:
    models = models_of(synthetic.PLAN, turns_of(synthetic.synthetic_rows()))
    assert {name: each.system.parallel_calls for name, each in models.items()} == {
        "monolith": True,
        "decoupled": True,
        "serial-hands": False,
    }
