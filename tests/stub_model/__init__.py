"""A Messages-API server that answers what a test told it; see app.py, script.py and rules.py."""

from __future__ import annotations

from tests.stub_model.app import StubModel
from tests.stub_model.serving import RunningStub, StubControl, running_stub, stub_in_thread

__all__ = ["RunningStub", "StubControl", "StubModel", "running_stub", "stub_in_thread"]
