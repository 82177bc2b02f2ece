"""What one process needs that holds every brain."""

from __future__ import annotations

from typing import Any

import pytest

from agents.brain_settings import BrainDefinition, BrainResources
from agents.brains.registry import Registry
from agents.brains.together import places_together, resources_together
from agents.errors import InvalidRequest


def _brains(**brains: dict[str, Any]) -> Any:
    definitions = {name: BrainDefinition(**{"engine": "replay", **given}) for name, given in brains.items()}
    return Registry(definitions).brains


def test_a_process_goes_where_the_gpu_brain_must_and_has_the_cpus_of_all() -> None:
    gpu = {"num_cpus": 4, "num_gpus": 1, "accelerator_type": "H100"}
    brains = _brains(gpu={"resources": gpu}, near={"resources": {"num_cpus": 2}})
    assert resources_together(brains) == BrainResources(num_cpus=6, num_gpus=1, accelerator_type="H100")


def test_the_cpus_of_a_brain_on_several_gpus_are_counted_for_each_of_them() -> None:
    wide = {"num_cpus": 4, "num_gpus": 1, "tensor_parallel": 2}
    together = resources_together(_brains(wide={"resources": wide}, near={"resources": {"num_cpus": 2}}))
    assert (together.num_cpus * together.tensor_parallel, together.num_gpus) == (10, 1)


def test_brains_that_are_bound_to_no_place_go_anywhere() -> None:
    assert resources_together(_brains(a={}, b={})) == BrainResources(num_cpus=0.2)


@pytest.mark.parametrize("bound", [{"num_gpus": 1}, {"accelerator_type": "L4"}, {"labels": {"zone": "a"}}])
def test_two_brains_that_must_be_somewhere_do_not_fit_into_one_process(bound: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="a@1, b@1"):
        resources_together(_brains(a={"resources": {"num_gpus": 1}}, b={"resources": bound}))


def test_no_turn_that_goes_on_waits_for_any_of_the_brains() -> None:
    assert places_together(_brains(a={"max_ongoing_requests": 8}, b={"max_ongoing_requests": 3})) == 3
