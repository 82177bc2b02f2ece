"""The questions about itself that an inference server answers: whether it is well, and its metrics."""

from __future__ import annotations

import asyncio

import httpx2

from agents.brains.port import BrainFailure

_OK = 200
_METRICS_SECONDS = 5.0
_METRICS_BYTES = 8 * 1024 * 1024


class Probe:
    """Asks one server; *patience* is how long it may take to say that it is well, in seconds."""

    def __init__(self, base_url: str, *, health_path: str, metrics_path: str, patience: float) -> None:
        self._health_path = health_path
        self._metrics_path = metrics_path
        self._patience = patience
        # The server is on this host: a proxy of the environment has no business here.
        self._http = httpx2.AsyncClient(base_url=base_url, trust_env=False, timeout=max(patience, _METRICS_SECONDS))

    async def is_healthy(self) -> bool:
        """Whether it answers in time that it is well."""
        try:
            async with asyncio.timeout(self._patience):
                return (await self._http.get(self._health_path)).status_code == _OK
        except (httpx2.HTTPError, TimeoutError):
            return False

    async def metrics(self) -> str:
        """Return its metrics as Prometheus text; raises BrainFailure when it does not tell them."""
        told = bytearray()
        try:
            async with (
                asyncio.timeout(_METRICS_SECONDS),
                self._http.stream("GET", self._metrics_path) as response,
            ):
                response.raise_for_status()
                async for chunk in response.aiter_bytes():
                    told += chunk
                    if len(told) > _METRICS_BYTES:
                        raise _untold(f"they have more than {_METRICS_BYTES} bytes")
        except (httpx2.HTTPError, TimeoutError) as error:
            raise _untold(repr(error)) from error
        return told.decode(errors="replace")

    async def aclose(self) -> None:
        await self._http.aclose()


def _untold(why: str) -> BrainFailure:
    return BrainFailure("request_failed", f"The inference server does not tell its metrics: {why}", transient=True)
