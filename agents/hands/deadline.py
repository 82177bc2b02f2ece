"""A limit of time for work in a thread, which nobody can interrupt from outside."""

from __future__ import annotations

import time


class Deadline:
    """Ends after so many seconds, or as soon as it is cancelled. The work asks it between its steps."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self._seconds = seconds

    def check(self) -> None:
        """Raise TimeoutError when the time is up."""
        if time.monotonic() >= self._at:
            raise TimeoutError(f"it took longer than {self._seconds:g} s, or was given up")

    def cancel(self) -> None:
        """Let the next check fail."""
        self._at = float("-inf")
