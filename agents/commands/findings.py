"""What a check of ``hecaton doctor`` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: ``problem`` means that the server cannot do its work until ``remedy`` is done."""

    name: str
    state: State
    found: str
    remedy: str = ""
