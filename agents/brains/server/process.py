"""An inference server as a process: its keeper, its output, its end.

The keeper (keeper.py) leads a process group of its own and sees that nothing outlives this process, not even when it
is killed. When it is the keeper that dies, this side kills what is left of the group.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agents.brains.server import keeper
from agents.brains.server.environment import mask_for
from agents.brains.server.output import Output
from agents.brains.server.presets import LOOPBACK
from agents.hands.child_process import ChildProcess

_KEEPER = str(Path(keeper.__file__).absolute())
_KILL_SECONDS = 15.0
"""A process that holds a GPU takes a while to be gone."""
_BY_SIGNAL = 128


class ServerProcess:
    """One process of an inference server, with everything that it starts."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        stop_seconds: float,
        on_line: Callable[[str], None],
    ) -> None:
        """Start *argv* with exactly *environment*; raises OSError when no process can be started."""
        self._stop_seconds = stop_seconds
        self._output = Output(on_line, mask=mask_for(environment))
        self._child = ChildProcess(
            [sys.executable, "-I", "-S", _KEEPER, str(stop_seconds), *argv],
            env=environment,
            on_output=self._output.feed,
            on_exit=self._on_exit,
        )

    @property
    def pid(self) -> int:
        """The keeper's; everything else is below it."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.alive

    async def ended_within(self, seconds: float | None) -> bool:
        """Wait for the end of the server and all it started; False when it still runs after *seconds*."""
        await asyncio.wait({self._child.exited}, timeout=seconds)
        return not self.alive

    def how_it_ended(self) -> str:
        """Say in words how it ended, with the last lines that it printed."""
        code = self._child.exited.result()
        number = -code if code < 0 else code - _BY_SIGNAL
        try:
            ended = f"was ended by {signal.Signals(number).name}"
        except ValueError:
            ended = f"ended with status {code}"
        return f"{ended}; its last lines:\n{self.last_lines()}"

    def last_lines(self) -> str:
        """Return what it printed last."""
        return self._output.last_lines()

    def kill(self) -> None:
        """Kill it and all it started; returns at once."""
        self._child.write(keeper.KILL)

    async def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL to whatever is left after ``stop_seconds``. Raises TimeoutError."""
        try:
            self._child.write(keeper.STOP)
            await self.ended_within(self._stop_seconds + _KILL_SECONDS)
        finally:
            self._child.abort()
        if not await self.ended_within(_KILL_SECONDS):
            raise TimeoutError("the inference server cannot be killed")

    def _on_exit(self, _code: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._output.finish()


def is_taken(port: int) -> bool:
    """Whether somebody listens on *port* of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False
