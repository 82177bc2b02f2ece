"""Git as a program beside a host of sandboxes: told everything by its environment, and bounded in what it takes.

Invariant: no process of it outlives the one that started it. A shell waits for the end of the pipe from there, which
comes in whatever way the starter ends, and takes the whole process group along: the token and the connection are the
helpers', who would hear of nothing.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr

from agents.hands.checkpoint_scan import MAX_ENTRIES
from agents.hands.child_process import ChildProcess
from agents.hands.leftovers import MARK
from agents.net.guard import parse_url
from agents.repositories.failures import Reason, RepositoryFailed
from agents.repositories.source import RepositorySource

_MOST_OUTPUT = 16 * 1024
_MOST_TOLD = 300
_MOST_MEMORY = 4 * 1024**3
"""Address space of each of git's processes, in bytes: the index of ten million objects takes a quarter of it."""
_USER = "x-access-token"
"""What GitHub wants as the user beside a token; other servers look at the token alone."""
_VERSION = re.compile(r"git version (\d+)\.(\d+)")
_OLDEST = (2, 37)
"""The first with ``http.curloptResolve``: an older one ignores it, and looks names up for itself."""
_CONFIGURATION: Mapping[str, str] = {
    "core.bigFileThreshold": "64m",
    "core.hooksPath": os.devnull,
    "core.packedGitLimit": "512m",
    "core.packedGitWindowSize": "32m",
    "core.symlinks": "true",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "init.templateDir": "",
    "pack.threads": "4",
    "protocol.allow": "never",
    "protocol.http.allow": "always",
    "protocol.https.allow": "always",
    "submodule.recurse": "false",
    "transfer.unpackLimit": "1",
}
# Limits are in 1024-byte blocks. By a shell: one that is set between fork and exec is not safe in a process with
# threads. No core, which would have the token. The shell itself says nothing of how git ended.
_BOUNDED = """
ulimit -c 0 -f "$1" -v "$2" || exit
shift 2
exec 3<&0 4>&2 </dev/null 2>/dev/null
(read -r -u 3; kill -KILL 0) >/dev/null 4>&- &
"$@" 2>&4 3<&- 4>&-
status=$?
kill $!
exit $status
"""


class GitProgram:
    """Runs git for one copy at *target*."""

    def __init__(
        self, program: str, source: RepositorySource, environment: Mapping[str, str], most_bytes: int, target: Path
    ) -> None:
        """No file that it writes may have more than *most_bytes*."""
        self._program = program
        self._source = source
        self._environment = {**environment, MARK: str(target)}
        self._most_bytes = most_bytes
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

    async def check_size(self, revision: str) -> None:
        """Raise RepositoryFailed when what is to be checked out of *revision* is too much, all its files together.

        A few objects can stand for any number of files.
        """
        found = _Found(self._most_bytes)
        listing = ("ls-tree", "-r", "-t", "--full-tree", "--format=%(objectsize)", revision)
        ended = await self._run(listing, heard=found.add)
        if not found.is_bounded:
            most = f"{self._most_bytes} bytes or {MAX_ENTRIES} files and directories"
            raise RepositoryFailed("clone", self._source.url, f"what is to be checked out has more than {most}")
        self._must("checkout", listing, *ended)

    async def must(self, reason: Reason, *arguments: str) -> None:
        """Raises RepositoryFailed for *reason* when git fails."""
        self._must(reason, arguments, *await self._run(arguments))

    async def does(self, *arguments: str) -> bool:
        """Whether git says yes."""
        return not (await self._run(arguments))[0]

    def _must(self, reason: Reason, arguments: tuple[str, ...], status: int, output: str) -> None:
        if status:
            told = output.strip().rpartition("\n")[2][:_MOST_TOLD]
            raise RepositoryFailed(reason, self._source.url, f"git {arguments[0]} failed: {told or f'status {status}'}")

    async def _run(
        self, arguments: tuple[str, ...], heard: Callable[[bytes], bool] = lambda _: True
    ) -> tuple[int, str]:
        """Return the status and the end of the output. *heard* gets all of that, and says whether to go on."""
        kept = bytearray()

        def collect(chunk: bytes) -> None:
            kept.extend(chunk)
            del kept[:-_MOST_OUTPUT]
            if not heard(chunk):
                child.abort()

        limits = (str(max(self._most_bytes // 1024, 1)), str(_MOST_MEMORY // 1024))
        inside = ("-C", str(self._target)) if arguments[0] not in ("clone", "--version") else ()
        argv = ("/bin/bash", "-c", _BOUNDED, "bash", *limits, self._program, *inside, *arguments)
        child = ChildProcess(argv, env=self._environment, on_output=collect)
        status = await child.wait_or(child.abort)
        return status, kept.decode(errors="replace")


class _Found:
    """What git lists of a commit, a line with the size for each file, with a hyphen for whatever has none."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._entries = 0
        self._rest = b""

    @property
    def is_bounded(self) -> bool:
        return self._left >= 0 and self._entries <= MAX_ENTRIES

    def add(self, output: bytes) -> bool:
        """Count what is listed in one piece of the output; whether it is still within bounds."""
        *lines, self._rest = (self._rest + output).split(b"\n")
        self._entries += len(lines)
        self._left -= sum(int(line) for line in lines if line.isdigit())
        return self.is_bounded


def authorization(token: SecretStr | None) -> dict[str, str]:
    """Return the header that shows *token*, if there is one."""
    if token is None:
        return {}
    given = b64encode(f"{_USER}:{token.get_secret_value()}".encode()).decode()
    return {"authorization": f"Basic {given}"}


def environment_of(source: RepositorySource, token: SecretStr | None, addresses: list[str]) -> dict[str, str]:
    """Return all that git is told: nothing of this machine's or of its user's configuration gets to it."""
    place = parse_url(source.url)
    settings = dict(_CONFIGURATION)
    if ":" not in place.host:  # an IPv6 address is looked up by nobody
        literal = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
        settings["http.curloptResolve"] = f"{place.host}:{place.port}:{literal}"
    host = f"[{place.host}]" if ":" in place.host else place.host
    for name, value in authorization(token).items():
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
