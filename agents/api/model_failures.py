"""What a failed model request is on the Messages API."""

from __future__ import annotations

from agents.brains.port import BrainFailure, FailureKind
from agents.errors import HecatonError, InvalidRequest, NotFound, Overloaded, PayloadTooLarge, RateLimited, Unavailable

_BY_KIND: dict[FailureKind, type[HecatonError]] = {"overloaded": Overloaded, "rate_limited": RateLimited}
_BY_STATUS: dict[int, type[HecatonError]] = {404: NotFound, 413: PayloadTooLarge}


def api_error(failure: BrainFailure) -> HecatonError:
    """Return the error that a client is told: its own mistake as the model server put it, else who is at fault."""
    if failure.refusal is not None:
        return _BY_STATUS.get(failure.refusal.status, InvalidRequest)(failure.refusal.message)
    # A lost replica, and a model server that failed, broke off or broke the protocol: asked again they may do better.
    others = Unavailable if failure.transient else HecatonError
    return _BY_KIND.get(failure.kind, others)(failure.message, retry_after=failure.retry_after)
