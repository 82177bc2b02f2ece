"""Ending an actor for good, so that its name is free for the next one."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.exceptions import RayError

from actors.names import NAMESPACE

_GONE_SECONDS = 30.0
_LOOK_SECONDS = 0.1
_STOP_GRACE_SECONDS = 30.0


class StillKnown(Exception):
    """Ray still knows an actor long after it was ended."""


def end_actor(handle: Any, name: str, *, patience: float) -> bool:
    """Let an actor stop by itself within *patience* seconds and some grace (0: it has nothing to finish), then end it.

    Blocks until its name is free, or another actor has it. Returns whether it stopped by itself, if it had something
    to finish. Raises StillKnown.
    """
    stopped = True
    if patience:
        try:
            ray.get(handle.stop.remote(), timeout=patience + _STOP_GRACE_SECONDS)
        except RayError:
            stopped = False
    ray.kill(handle, no_restart=True)
    end = time.monotonic() + _GONE_SECONDS
    while time.monotonic() < end:
        if not _is_known(name, handle):
            return stopped
        time.sleep(_LOOK_SECONDS)
    raise StillKnown(f"{name}: Ray still knows it {_GONE_SECONDS:g} s after it was ended")


def _is_known(name: str, handle: Any) -> bool:
    try:
        return ray.get_actor(name, namespace=NAMESPACE) == handle
    except ValueError:
        return False
