"""Lanes for ``pytest -n 2`` (``make test LANES=2``): the tests of a folder follow each other in one process.

So what they share (a database server, a live server) is made once. Lanes without Ray run two at a time. What kills and
starts whole clusters is a lane that waits for all others and then has the machine to itself: parts that start beside
other work keep each other waiting on two cores.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

_CLUSTERS = "clusters"
_FOLDERS_OF_CLUSTERS = ("tests/cluster/", "tests/chaos/")
_COMPANY = pytest.StashKey[IO[str]]()
"""A lock that every process of the run shares until its tests are done; clusters take it alone."""


def _lane(nodeid: str) -> str:
    return _CLUSTERS if nodeid.startswith(_FOLDERS_OF_CLUSTERS) else nodeid.partition("::")[0].rpartition("/")[0]


class Lanes(LoadScopeScheduling):
    """Hands out lanes, those with the most tests first, and the clusters last: who has them waits for the others."""

    def _split_scope(self, nodeid: str) -> str:
        return _lane(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if _CLUSTERS in self.workqueue:
            self.workqueue.move_to_end(_CLUSTERS)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes:
    return Lanes(config, log)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        # A worker's temporary directory lies in that of the run.
        lock = Path(config.option.basetemp).parent.joinpath("company.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_SH)
        config.stash[_COMPANY] = lock


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait with the first test on a cluster for the other processes' last ones; here no test's time limit counts."""
    lock = item.config.stash.get(_COMPANY, None)
    if lock is not None and _lane(item.nodeid) == _CLUSTERS:
        fcntl.flock(lock, fcntl.LOCK_EX)
    return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (lock := session.config.stash.get(_COMPANY, None)) is not None:
        lock.close()
