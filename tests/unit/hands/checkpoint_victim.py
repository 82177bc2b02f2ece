"""A sandbox host in a process of its own, to be killed; its arguments are ROOT STORE NAME STEP.

Calls come as JSON lines on standard input and results go out the same way. At its STEP-th step towards a
checkpoint (0: never) the process kills itself, in whatever it is about to do.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.config import SandboxSettings
from agents.hands.checkpoint_store import LocalStore
from agents.hands.host import SandboxHost
from agents.hands.port import ToolCall, Workspace

_STEPS = ("write", "fsync", "rename", "unlink", "open", "pread")


def die_at(step: int) -> None:
    """Have the process killed at its *step*-th system call of certain kinds in a thread that makes checkpoints."""
    counter = itertools.count(1)

    def counted(real: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            if threading.current_thread().name.startswith("checkpoint") and next(counter) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return call

    for name in _STEPS:
        setattr(os, name, counted(getattr(os, name)))


async def serve(root: Path, store: Path, name: str) -> None:
    host = SandboxHost(SandboxSettings(warm=0), root, name=name, store=LocalStore(store))
    await host.start()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        request = json.loads(line)
        call = ToolCall(request["id"], "bash", {"command": request["command"]})
        async for result in host.execute(Workspace("sesn_a", **request["workspace"]), [call]):
            sys.stdout.write(json.dumps(asdict(result)) + "\n")
            sys.stdout.flush()
    await host.stop()


if __name__ == "__main__":
    die_at(int(sys.argv[4]))
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
