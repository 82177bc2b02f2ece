"""Repositories over HTTP as a real server has them: git's own backend, behind a door that wants a token."""

from __future__ import annotations

import asyncio
import os
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

TOKEN = "ghp_0123456789secret"
SHUT = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 301: "Moved Permanently"}


def git(directory: Path, *arguments: str, given: str = "") -> str:
    """Run git with an identity of its own and nobody's configuration; *given* is its input."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    command = ["git", *arguments]
    run = subprocess.run(
        command, cwd=directory, env=environment, input=given, capture_output=True, check=True, text=True
    )
    return run.stdout.strip()


def new_repository(folder: Path) -> Path:
    """Make a working tree at ``work`` with two branches and return a bare copy of it, to be served."""
    work, bare = folder / "work", folder / "served" / "project.git"
    work.mkdir()
    bare.parent.mkdir()
    git(work, "init", "-q", "-b", "main")
    (work / "README").write_text("main")
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "first")
    git(work, "checkout", "-q", "-b", "feature/x")
    (work / "README").write_text("feature")
    git(work, "commit", "-q", "-a", "-m", "second")
    git(work, "checkout", "-q", "main")
    git(folder, "clone", "-q", "--bare", str(work), str(bare))
    return bare


def put_many(bare: Path, content: str, *, names: int, depth: int) -> None:
    """Have *names* to the power of *depth* files on the main branch of *bare*, of one object and one tree a level."""
    sha = git(bare, "hash-object", "-w", "--stdin", given=content)
    kind = "100644 blob"
    for _ in range(depth):
        sha = git(bare, "mktree", given="".join(f"{kind} {sha}\tn{name}\n" for name in range(names)))
        kind = "040000 tree"
    git(bare, "update-ref", "refs/heads/main", git(bare, "commit-tree", "-m", "many", sha))


class GitServer:
    """Serves the bare repositories of a directory to whoever shows the token."""

    def __init__(self, root: Path, token: str) -> None:
        self._root = root
        self._wanted = "Basic " + b64encode(f"x-access-token:{token}".encode()).decode()
        self.refuses: int | None = None
        """A status that everybody gets, whatever they show."""
        self.url = ""
        self.stalls_after: int | None = None
        """Requests that are answered; whoever comes later waits for ever."""
        self.stalled = asyncio.Event()
        self.gone = asyncio.Event()
        """Somebody waits, and somebody who has waited has gone."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[GitServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            method, target, _ = (await reader.readline()).decode().split()
            headers: dict[str, str] = {}
            while line := (await reader.readline()).decode().strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body = await self._body(reader, headers)
            if self.stalls_after == 0:
                self.stalled.set()
                await reader.read()
                self.gone.set()
                return
            if self.stalls_after is not None:
                self.stalls_after -= 1
            writer.write(await self._answer(method, target, headers, body))
            await writer.drain()
        finally:
            writer.close()

    async def _body(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readline()
            return body
        return await reader.readexactly(int(headers.get("content-length", 0)))

    async def _answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        path, _, query = target.partition("?")
        status = self.refuses or (None if headers.get("authorization") == self._wanted else 401)
        if status is None and not (self._root / path.split("/")[1]).is_dir():
            status = 404
        if status is not None:
            more = f"WWW-Authenticate: Basic\r\nLocation: {self.url}/elsewhere"
            head = f"HTTP/1.1 {status} {SHUT[status]}\r\n{more}\r\n"
            return f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self._root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": headers.get("content-type", ""),
            "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
            "GIT_PROTOCOL": headers.get("git-protocol", ""),
        }
        pipe = asyncio.subprocess.PIPE
        backend = await asyncio.create_subprocess_exec("git", "http-backend", env=environment, stdin=pipe, stdout=pipe)
        output, _ = await backend.communicate(body)
        head, _, content = output.partition(b"\r\n\r\n")
        length = f"\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
        return b"HTTP/1.1 200 OK\r\n" + head + length + content
