"""A tiny scripted shell over a dictionary of files: just enough bash for tests and dry runs.

Understands ``a; b && c``, ``$NAME``, ``> file``, ``>> file`` and the commands echo, true, false, sleep,
pwd, cd, cat, export and exit. Anything else is "command not found", as in a real shell.
"""

from __future__ import annotations

import posixpath
import shlex
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from string import Template

from agents.hands.tool_failure import ToolFailure

Sleep = Callable[[float], Awaitable[None]]
_NOT_FOUND = 127


class MemoryFiles:
    """A session's files: absolute path to content, with the order in which they were last written."""

    def __init__(self) -> None:
        self._content: dict[str, bytes] = {}
        self._written: dict[str, int] = {}
        self._writes = 0

    def read(self, path: str) -> bytes:
        """Return the content of a file; raises FileNotFoundError, IsADirectoryError."""
        if path in self._content:
            return self._content[path]
        if any(other.startswith(path.rstrip("/") + "/") for other in self._content):
            raise IsADirectoryError(21, "is a directory")
        raise FileNotFoundError(2, "no such file or directory")

    def write(self, path: str, data: bytes) -> None:
        """Set the content of a file."""
        self._writes += 1
        self._content[path] = data
        self._written[path] = self._writes

    def below(self, directory: str) -> list[str]:
        """Return the files under *directory* (or that file itself), newest first."""
        prefix = directory.rstrip("/") + "/"
        found = [path for path in self._content if path == directory or path.startswith(prefix)]
        return sorted(found, key=lambda path: -self._written[path])


class ShellExit(Exception):
    """``exit`` was called."""

    def __init__(self, status: int, output: str) -> None:
        super().__init__(f"exit {status}")
        self.status = status
        self.output = output


@dataclass(slots=True)
class MemoryShell:
    """The state that lasts from call to call."""

    files: MemoryFiles
    sleep: Sleep
    directory: str = "/workspace"
    variables: dict[str, str] = field(default_factory=lambda: {"HOME": "/home/agent"})

    def fork(self) -> MemoryShell:
        """Return a copy that shares the files only."""
        return MemoryShell(self.files, self.sleep, self.directory, dict(self.variables))

    def merge(self, base: MemoryShell, after: MemoryShell) -> None:
        """Take over what *after* changed since *base*."""
        if after.directory != base.directory:
            self.directory = after.directory
        self.variables |= {k: v for k, v in after.variables.items() if base.variables.get(k) != v}

    async def run(self, script: str) -> tuple[str, int]:
        """Run *script*; returns its output and exit status. Raises ShellExit, ToolFailure for broken syntax."""
        lexer = shlex.shlex(script, posix=True, punctuation_chars=";&>")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError as error:
            return f"bash: syntax error: {error}", 2
        output = ""
        status = 0
        for joined, command in _commands(words):
            if joined == "&&" and status != 0:
                continue
            try:
                said, status = await self._one(command)
            except ShellExit as leaving:
                raise ShellExit(leaving.status, output) from None
            output += said
        return output, status

    async def _one(self, words: list[str]) -> tuple[str, int]:
        target = mode = None
        if len(words) > 2 and words[-2] in (">", ">>"):
            *words, mode, target = words
        name, *arguments = [Template(word).safe_substitute(defaultdict(str, self.variables)) for word in words]
        said, status = await self._builtin(name, arguments)
        if target is None:
            return said, status
        path = self.path(target)
        before = self._read_if_there(path) if mode == ">>" else b""
        self.files.write(path, before + said.encode())
        return "", status

    async def _builtin(self, name: str, arguments: list[str]) -> tuple[str, int]:
        match name:
            case "echo":
                return " ".join(arguments) + "\n", 0
            case "true" | "false":
                return "", int(name == "false")
            case "pwd":
                return self.directory + "\n", 0
            case "cat":
                return "".join(self._read_if_there(self.path(a)).decode() for a in arguments), 0
            case "sleep":
                await self.sleep(float(arguments[0]))
                return "", 0
            case "cd":
                self.directory = self.path(arguments[0])
                return "", 0
            case "export":
                self.variables |= dict(assignment.split("=", 1) for assignment in arguments)
                return "", 0
            case "exit":
                raise ShellExit(int(arguments[0]) if arguments else 0, "")
            case _:
                return f"bash: {name}: command not found\n", _NOT_FOUND

    def path(self, path: str) -> str:
        """Return *path* as an absolute path."""
        return posixpath.normpath(posixpath.join(self.directory, path))

    def _read_if_there(self, path: str) -> bytes:
        try:
            return self.files.read(path)
        except OSError:
            return b""


def _commands(words: list[str]) -> list[tuple[str, list[str]]]:
    """Split words into (joining operator, command) pairs; raises ToolFailure for what this shell lacks."""
    commands: list[tuple[str, list[str]]] = [(";", [])]
    for word in words:
        if word in (";", "&&"):
            commands.append((word, []))
        elif word in ("&", ";;"):
            raise ToolFailure(f"bash: {word!r} is not supported by the in-memory shell")
        else:
            commands[-1][1].append(word)
    return [(joined, command) for joined, command in commands if command]
