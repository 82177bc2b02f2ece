"""Two lanes for ``pytest -n 2 --dist loadgroup``: what kills and starts whole clusters, and everything else.

Each lane is one process, so that what a package's tests share (a cluster, a live server) is still made once. On two
cores they keep each other waiting when Ray starts; ``make test`` goes one way after the other.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_CLUSTERS = tuple(Path(__file__).parent / name for name in ("cluster", "chaos"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        lane = "clusters" if any(item.path.is_relative_to(folder) for folder in _CLUSTERS) else "others"
        item.add_marker(pytest.mark.xdist_group(lane))
