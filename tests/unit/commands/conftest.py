from __future__ import annotations

import pytest
from rich.console import Console

from tests.unit.commands.screen import screen


@pytest.fixture
def out() -> Console:
    return screen()
