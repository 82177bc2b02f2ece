"""The endpoint of a webhook, outside the platform: takes every message and notes it."""

from __future__ import annotations

import asyncio

import orjson

from tests.chaos.record import Post

_SECONDS = 10.0
_TAKEN = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


class Hook:
    """One endpoint; ``posts`` keeps what came, in order of arrival."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.url = ""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=128)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                headers = _headers(await reader.readuntil(b"\r\n\r\n"))
                event = orjson.loads(await reader.readexactly(int(headers["content-length"])))
                # Noted before it is acknowledged: what the sender does not hear of, it sends again.
                self.posts.append(Post(headers["webhook-id"], event["data"]["type"], event["data"]["id"]))
                writer.write(_TAKEN)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the sender was killed: the message comes again
        finally:
            writer.close()


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.lower(): value.strip() for name, _, value in pairs}
