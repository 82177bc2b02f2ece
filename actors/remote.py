"""``ray.remote`` for actor classes, untyped: Ray's annotations know neither its options nor what it returns."""

from __future__ import annotations

from typing import Any

import ray

actor: Any = ray.remote
