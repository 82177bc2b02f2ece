from __future__ import annotations

import pytest

from tests.unit.manifests.kustomize import Object
from tests.unit.manifests.manifests import OVERLAYS, rendered


@pytest.fixture(params=sorted(OVERLAYS))
def overlay(request: pytest.FixtureRequest) -> str:
    """The name of each overlay, and of the base."""
    return request.param


@pytest.fixture
def objects(overlay: str) -> list[Object]:
    """What the overlay makes."""
    return rendered(overlay)
