from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.instance import Instance, running
from tests.conformance.fixtures import aclient, ahttp, client, environment_id, http, scene
from tests.conformance.platform import LivePlatform
from tests.stub_model import StubControl, stub_in_thread

pytest.register_assert_rewrite("tests.cluster.conversations")

__all__ = ["aclient", "ahttp", "client", "environment_id", "http", "scene"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(*ids): the requirements of the manifest that a test holds")


@pytest.fixture(scope="package")
def stub() -> Iterator[StubControl]:
    with stub_in_thread(keep=4000) as made:
        yield made


@pytest.fixture(scope="package")
def instance(stub: StubControl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A platform on Ray with two harnesses and two gateways, so that every test crosses them."""
    data_dir = tmp_path_factory.mktemp("cluster") / "data"
    with running(data_dir, stub, harness={"actors": 2}, gateway={"replicas": 2}) as made:
        yield made


@pytest.fixture(scope="package")
def platform(instance: Instance, stub: StubControl) -> LivePlatform:
    return LivePlatform(instance.url, stub)
