"""Copying a repository, outside of every sandbox.

The token is in the environment of the processes that fetch, and nowhere else: not in the copy's configuration, not on
a command line, not in what is told of a failure. Nothing that the repository holds is run: no hooks, no submodules, no
filters, no configuration but what stands here. Where connections may lead is the guard's to say, and git is given the
addresses that it has checked: a name that changes its mind in between, or a redirect, gains nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import httpx2
from pydantic import SecretStr

from agents.net.client import guarded_client
from agents.net.guard import Guard, NetworkRefused, parse_url
from agents.repositories.failures import Reason, RepositoryFailed
from agents.repositories.source import RepositorySource

_PROBE_SECONDS = 20.0
_REAP_SECONDS = 5.0
_MOST_OUTPUT = 16 * 1024
_MOST_TOLD = 300
_USER = "x-access-token"
"""What GitHub wants as the user beside a token; other servers look at the token alone."""
_REASONS: Mapping[int, tuple[Reason, str]] = {
    401: ("authentication", "the server wants another authorization token, or one at all"),
    403: ("forbidden", "the authorization token does not open this repository"),
    404: ("not_found", "there is no such repository, or none that the authorization token opens"),
}
_VERSION = re.compile(r"git version (\d+)\.(\d+)")
_OLDEST = (2, 37)
"""The first with ``http.curloptResolve``: an older one ignores it, and looks names up for itself."""
_CONFIGURATION: Mapping[str, str] = {
    "core.hooksPath": os.devnull,
    "core.symlinks": "true",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "init.templateDir": "",
    "protocol.allow": "never",
    "protocol.http.allow": "always",
    "protocol.https.allow": "always",
    "submodule.recurse": "false",
}


class Cloner:
    """Copies repositories into directories of this machine."""

    def __init__(self, guard: Guard, *, seconds: float, most_bytes: int, program: str = "git") -> None:
        """*seconds* bound one copy; no file of it may have more than *most_bytes*: a pack is one file."""
        self._guard = guard
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._program = program
        self._known_to_do = False

    async def clone(self, source: RepositorySource, token: SecretStr | None, target: Path) -> None:
        """Make a copy at *target*, which is not there yet, with what is asked for checked out.

        Raises RepositoryFailed; then there is nothing at *target*.
        """
        try:
            async with asyncio.timeout(self._seconds):
                await self._clone(source, token, target)
        except TimeoutError:
            await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
            raise RepositoryFailed("clone", source.url, f"it took longer than {self._seconds:.0f} seconds") from None
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
            raise

    async def _clone(self, source: RepositorySource, token: SecretStr | None, target: Path) -> None:
        addresses = await self._addresses(source)
        await self._probe(source, token)
        git = _Git(self._program, source, _environment(source, token, addresses), self._most_bytes, target)
        if not self._known_to_do:
            await git.check()
            self._known_to_do = True
        await git.must("clone", "clone", "--quiet", "--no-checkout", "--template=", source.url, str(target))
        if source.branch is not None:
            theirs = f"refs/remotes/origin/{source.branch}"
            await git.must("checkout", "checkout", "--quiet", "-B", source.branch, theirs)
        elif source.sha is not None:
            if not await git.does("cat-file", "-e", f"{source.sha}^{{commit}}"):
                # One that no branch leads to; most servers hand it out all the same when they are asked for it.
                await git.must("checkout", "fetch", "--quiet", "origin", source.sha)
            await git.must("checkout", "checkout", "--quiet", "--detach", source.sha)
        elif await git.does("rev-parse", "--verify", "--quiet", "HEAD"):  # an empty repository has none
            await git.must("checkout", "reset", "--quiet", "--hard")

    async def _addresses(self, source: RepositorySource) -> list[str]:
        place = parse_url(source.url)
        try:
            return await self._guard.addresses(place.host, place.port)
        except (NetworkRefused, OSError, TimeoutError) as error:
            why = error.message if isinstance(error, NetworkRefused) else "its server cannot be found"
            raise RepositoryFailed("clone", source.url, why) from error

    async def _probe(self, source: RepositorySource, token: SecretStr | None) -> None:
        """Ask the server as git will: its status says what is wrong, which git tells in words alone."""
        headers = {"git-protocol": "version=2", **_authorization(token)}
        url = f"{source.url.rstrip('/')}/info/refs?service=git-upload-pack"
        timeout = httpx2.Timeout(_PROBE_SECONDS)
        try:
            async with (
                guarded_client(self._guard, headers=headers, timeout=timeout) as client,
                client.stream("GET", url) as answer,
            ):
                status = answer.status_code
        except httpx2.HTTPError as error:
            why = f"its server does not answer ({type(error).__name__})"
            raise RepositoryFailed("clone", source.url, why) from error
        if status in _REASONS:
            reason, words = _REASONS[status]
            raise RepositoryFailed(reason, source.url, words)
        if status != 200:
            moved = "; a repository that has moved must be named by its new URL" if 300 <= status < 400 else ""
            raise RepositoryFailed("clone", source.url, f"its server answered with status {status}{moved}")


class _Git:
    """Runs git on one copy."""

    def __init__(
        self, program: str, source: RepositorySource, environment: dict[str, str], most_bytes: int, target: Path
    ) -> None:
        self._program = program
        self._source = source
        self._environment = environment
        self._most_blocks = max(most_bytes // 1024, 1)
        self._target = target

    async def check(self) -> None:
        """Raise RepositoryFailed unless this host has a git that connects to where it is told to, and nowhere else."""
        status, output = await self._run(("--version",))
        said = _VERSION.search(output)
        if status or said is None:
            raise RepositoryFailed("clone", self._source.url, "the sandbox host has no git that works")
        if (int(said[1]), int(said[2])) < _OLDEST:
            wanted = ".".join(map(str, _OLDEST))
            raise RepositoryFailed("clone", self._source.url, f"the sandbox host's git is older than {wanted}")

    async def must(self, reason: Reason, *arguments: str) -> None:
        """Raises RepositoryFailed for *reason* when git fails."""
        status, output = await self._run(arguments)
        if status:
            told = output.strip().rpartition("\n")[2][:_MOST_TOLD]
            raise RepositoryFailed(reason, self._source.url, f"git {arguments[0]} failed: {told or f'status {status}'}")

    async def does(self, *arguments: str) -> bool:
        """Whether git says yes."""
        return not (await self._run(arguments))[0]

    async def _run(self, arguments: tuple[str, ...]) -> tuple[int, str]:
        # By a shell for its ulimit alone, in 1024-byte blocks: a limit set between fork and exec is not safe in a
        # process with threads.
        bounded = ("/bin/bash", "-c", f'ulimit -f {self._most_blocks} && exec "$0" "$@"', self._program)
        inside = ("-C", str(self._target)) if arguments[0] not in ("clone", "--version") else ()
        child = await asyncio.create_subprocess_exec(
            *bounded,
            *inside,
            *arguments,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output = await _bounded_output(child)
            return await child.wait(), output
        finally:
            if child.returncode is None:
                # Its helpers, too: they have the token and the connection.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                async with asyncio.timeout(_REAP_SECONDS):
                    await child.wait()


async def _bounded_output(child: asyncio.subprocess.Process) -> str:
    assert child.stdout is not None, "it was asked for"
    kept = b""
    while piece := await child.stdout.read(_MOST_OUTPUT):
        kept = (kept + piece)[-_MOST_OUTPUT:]
    return kept.decode(errors="replace")


def _authorization(token: SecretStr | None) -> dict[str, str]:
    if token is None:
        return {}
    given = b64encode(f"{_USER}:{token.get_secret_value()}".encode()).decode()
    return {"authorization": f"Basic {given}"}


def _environment(source: RepositorySource, token: SecretStr | None, addresses: list[str]) -> dict[str, str]:
    """Return all that git is told: nothing of this machine's or of its user's configuration gets to it."""
    place = parse_url(source.url)
    settings = dict(_CONFIGURATION)
    if ":" not in place.host:  # an IPv6 address is looked up by nobody
        literal = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
        settings["http.curloptResolve"] = f"{place.host}:{place.port}:{literal}"
    host = f"[{place.host}]" if ":" in place.host else place.host
    for name, value in _authorization(token).items():
        # Of this server's URLs alone.
        settings[f"http.{place.scheme}://{host}:{place.port}/.extraHeader"] = f"{name}: {value}"
    told = {"GIT_CONFIG_COUNT": str(len(settings))}
    for index, (key, value) in enumerate(settings.items()):
        told |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_LFS_SKIP_SMUDGE": "1",
        **told,
    }
