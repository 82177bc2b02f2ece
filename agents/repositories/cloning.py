"""Copying a repository, outside of every sandbox.

The token is in the environment of the processes that fetch, and nowhere else: not in the copy's configuration, not on
a command line, not in what is told of a failure. Nothing that the repository holds is run: no hooks, no submodules, no
filters, no configuration but what stands here. Where connections may lead is the guard's to say, and git is given the
addresses that it has checked: a name that changes its mind in between, or a redirect, gains nothing.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

import httpx2
from pydantic import SecretStr

from agents.net.client import guarded_client
from agents.net.guard import Guard, NetworkRefused, parse_url
from agents.repositories.failures import Reason, RepositoryFailed
from agents.repositories.git_program import GitProgram, authorization, environment_of
from agents.repositories.source import RepositorySource

_PROBE_SECONDS = 20.0
_REASONS: Mapping[int, tuple[Reason, str]] = {
    401: ("authentication", "the server wants another authorization token, or one at all"),
    403: ("forbidden", "the authorization token does not open this repository"),
    404: ("not_found", "there is no such repository, or none that the authorization token opens"),
}


class Cloner:
    """Copies repositories into directories of this machine."""

    def __init__(self, guard: Guard, *, seconds: float, most_bytes: int, program: str = "git") -> None:
        """*seconds* bound one copy, *most_bytes* what Git fetches for it, and again what is checked out of that."""
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
        if (
            token is not None
            and source.url.startswith("http:")
            and any(ip_address(each).is_global for each in addresses)
        ):
            why = "its authorization token would cross the internet in the clear; name it by its https URL"
            raise RepositoryFailed("clone", source.url, why)
        await self._probe(source, token)
        git = GitProgram(self._program, source, environment_of(source, token, addresses), self._most_bytes, target)
        if not self._known_to_do:
            await git.check()
            self._known_to_do = True
        await git.must("clone", "clone", "--quiet", "--no-checkout", "--template=", source.url, str(target))
        if source.sha is not None and not await git.does("cat-file", "-e", f"{source.sha}^{{commit}}"):
            # One that no branch leads to; most servers hand it out all the same when they are asked for it.
            await git.must("checkout", "fetch", "--quiet", "origin", source.sha)
        if source.branch is not None:
            theirs = f"refs/remotes/origin/{source.branch}"
            await git.check_size(theirs)
            await git.must("checkout", "checkout", "--quiet", "-B", source.branch, theirs)
        elif source.sha is not None:
            await git.check_size(source.sha)
            await git.must("checkout", "checkout", "--quiet", "--detach", source.sha)
        elif await git.does("rev-parse", "--verify", "--quiet", "HEAD"):  # an empty repository has none
            await git.check_size("HEAD")
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
        headers = {"git-protocol": "version=2", **authorization(token)}
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
