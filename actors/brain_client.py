"""The harness's Brain: a streaming Serve handle, with Ray's failures turned into brain failures (law 7)."""

from __future__ import annotations

import pickle
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import orjson
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException

from actors.names import BRAIN_APP
from agents.brains.port import BrainFailure, BrainRequest

_JSON_ARRAY = ord("[")


class BrainClient:
    """Thinks on whichever replica of the brain deployment is free."""

    def __init__(self) -> None:
        self._live: Any = None
        self._whole: Any = None

    async def think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        """See Brain.think."""
        if self._whole is None:
            handle = serve.get_deployment_handle("brain", BRAIN_APP)
            self._whole, self._live = handle.options(method_name="think_whole"), handle.options(stream=True)
        payload = pickle.dumps(request, protocol=pickle.HIGHEST_PROTOCOL)
        answer = self._live.think.remote(payload) if request.live else self._whole.remote(payload)
        finished = False
        try:
            if request.live:
                async for item in answer:
                    for event in _unpacked(item):
                        yield event
            else:
                for event in _unpacked(await answer):
                    yield event
            finished = True
        except BackPressureError as error:
            raise BrainFailure("overloaded", "every brain replica is busy", transient=True) from error
        except (RayError, RayServeException) as error:
            what = f"the brain replica was lost ({type(error).__name__})"
            raise BrainFailure("request_failed", what, transient=True) from error
        finally:
            if not finished:
                answer.cancel()


def _unpacked(item: bytes) -> Iterator[dict[str, Any]]:
    if item[0] == _JSON_ARRAY:
        yield from orjson.loads(item)
        return
    events, failure = pickle.loads(item)  # noqa: S301 - written by our own brain deployment
    yield from events
    raise failure
