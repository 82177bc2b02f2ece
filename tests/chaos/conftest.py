from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.instance import Instance
from tests.conformance.fixtures import aclient, ahttp, client, environment_id, http, scene
from tests.conformance.platform import LivePlatform
from tests.stub_model import StubControl, stub_in_thread

__all__ = ["aclient", "ahttp", "client", "environment_id", "http", "scene"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(*ids): the requirements of the manifest that a test holds")


@pytest.fixture(scope="package")
def chaos_stub() -> Iterator[StubControl]:
    with stub_in_thread(keep=4000) as stub:
        yield stub
        stub.release("*")


@pytest.fixture(scope="package")
def started(tmp_path_factory: pytest.TempPathFactory, chaos_stub: StubControl) -> Iterator[Instance]:
    made = Instance(tmp_path_factory.mktemp("chaos") / "data", chaos_stub.url)
    made.up()
    yield made
    made.down()


@pytest.fixture(scope="package")
def platform(started: Instance, chaos_stub: StubControl) -> LivePlatform:
    # The port belongs to the instance, so the address outlives its restarts.
    return LivePlatform(started.url, chaos_stub)


@pytest.fixture
def instance(started: Instance) -> Instance:
    """The instance, up: an earlier test may have left it down."""
    started.ensure_up()
    return started
