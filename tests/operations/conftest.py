from __future__ import annotations

from tests.asks.conftest import data_dir, scene, server

__all__ = ["data_dir", "scene", "server"]
