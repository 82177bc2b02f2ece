from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.instance import Instance, running
from tests.conformance.fixtures import aclient, ahttp, client, environment_id, http, scene
from tests.conformance.platform import LivePlatform
from tests.stub_model import StubControl, stub_in_thread

pytest.register_assert_rewrite("tests.cluster.conversations", "tests.cluster.live_spans")

__all__ = ["aclient", "ahttp", "client", "environment_id", "http", "scene"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(*ids): the requirements of the manifest that a test holds")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what has a platform of its own: the shared one, once it is up, takes its share of the machine."""
    here = Path(__file__).parent
    places = [place for place, item in enumerate(items) if item.path.is_relative_to(here)]
    ordered = sorted((items[place] for place in places), key=_shares)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


def _shares(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "instance" in item.fixturenames


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
