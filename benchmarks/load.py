"""One-tool sessions from a process of its own: ``python -m benchmarks.load``; prints JSON.

Every session is fresh: it is created, its stream is opened, one message is sent, and the stream is
read to idle. N workers do this without pause, so N sessions are under way at any time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

import uvloop

from benchmarks.raw_http import Api, user_message


async def load(url: str, sessions: int, concurrency: int, text: str) -> dict[str, Any]:
    """Run *sessions* sessions, *concurrency* at a time; a failure ends the run by raising."""
    first = await Api.open(url)
    body, message = await first.set_up(), user_message(text)
    first.close()
    apis = [await Api.open(url) for _ in range(concurrency)]
    left = sessions
    seconds: list[float] = []

    async def work(api: Api) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            seconds.append(await api.one_session(body, message))

    cpu, started = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work(api) for api in apis))
    elapsed = time.perf_counter() - started
    for api in apis:
        api.close()
    return {"elapsed": elapsed, "cpu": time.process_time() - cpu, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--sessions", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--text", required=True)
    given = parser.parse_args()
    print(json.dumps(uvloop.run(load(given.url, given.sessions, given.concurrency, given.text))))


if __name__ == "__main__":
    main()
