"""GPUs that a replica holds, over time: what is paid for, whether it works or not."""

from __future__ import annotations

import time
from collections.abc import Iterable

from agents.brains.registry import RegisteredBrain
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder


def tell_gpu_seconds(brains: Iterable[RegisteredBrain], began: float, recorder: Recorder) -> None:
    """Set, for a recorder's collector, what a replica with *brains* has held since it *began* (``time.monotonic``)."""
    for brain in brains:
        resources = brain.definition.resources
        if gpus := resources.num_gpus * resources.tensor_parallel:
            recorder.set(catalogue.GPU_SECONDS, gpus * (time.monotonic() - began), brain.id)
