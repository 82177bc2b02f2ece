from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.fixtures import aclient, ahttp, client, environment_id, http, scene
from tests.conformance.platform import LivePlatform, from_environment, in_process

__all__ = ["aclient", "ahttp", "client", "environment_id", "http", "scene"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(*ids): the requirements of the manifest that a test holds")


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    with from_environment() as live:
        if live is not None:
            yield live
            return
    with in_process(tmp_path_factory.mktemp("platform")) as made:
        yield made
