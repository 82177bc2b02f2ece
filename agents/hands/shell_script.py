"""The text spoken to a sandbox's bash, and the reading of what it answers. No process here.

A command travels as one quoted ``eval`` with its own output file, so that a syntax error cannot hang
the shell and a background process cannot hold a pipe. Its end is told on the shell's own output by a
line with a nonce that the command never sees: ``<nonce> <exit status>``.
"""

from __future__ import annotations

import re
import resource
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from agents.config import SandboxSettings

# A descriptor for the end mark of a forked call, above what scripts use and below the open-file limit.
_MARK_FD = 199
_OPEN_FILES = 1024

_STATEMENT = re.compile(
    r"""^declare\ -[A-Za-z]+\ (?P<name>[A-Za-z_][A-Za-z0-9_]*)
        (?:=(?:"(?:[^"\\]|\\.)*"|\$'(?:[^'\\]|\\.)*'|\((?:[^"()]|"(?:[^"\\]|\\.)*")*\)))?$""",
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)
_SHELLS_OWN = frozenset({"PWD", "OLDPWD", "SHLVL", "_"})


@dataclass(frozen=True, slots=True)
class ShellState:
    """What a forked call may change in the persistent shell: the directory and exported variables."""

    directory: str
    exports: dict[str, str]
    """Variable name to the statement that sets it, as bash itself printed it."""


def _mark(nonce: str, value: str) -> str:
    return f"builtin printf '\\n%s %d\\n' {nonce} \"{value}\""


def _dump(path: str) -> str:
    return f"{{ builtin printf '%s\\0' \"$PWD\"; builtin export -p; }} >{shlex.quote(path)} 2>/dev/null"


def _within(kind: int, wanted: int) -> int:
    """Return *wanted*, or the server's own hard limit where that is lower (a limit can only be lowered)."""
    _, hard = resource.getrlimit(kind)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def boot_line(settings: SandboxSettings, nonce: str, directory: str | None = None) -> str:
    """Return the shell's first line: it takes its limits for good, then reports that it is ready."""
    limits = [
        "-c 0",
        f"-t {_within(resource.RLIMIT_CPU, settings.cpu_seconds)}",
        f"-d {_within(resource.RLIMIT_DATA, settings.memory_bytes) // 1024}",
        f"-u {_within(resource.RLIMIT_NPROC, settings.processes)}",
        f"-f {_within(resource.RLIMIT_FSIZE, settings.file_bytes) // 1024}",
        f"-n {_within(resource.RLIMIT_NOFILE, _OPEN_FILES)}",
    ]
    script = " && ".join(f"ulimit -HS {limit}" for limit in limits)
    if directory is not None:
        script += f" && cd -- {shlex.quote(directory)}"
    # When memory runs out, the kernel should take the sandbox and not the server.
    return f"{script} && {{ echo 1000 >/proc/self/oom_score_adj; exec 2>/dev/null; {_mark(nonce, '0')}; }}\n"


def define_line(variables: Mapping[str, str], nonce: str) -> str:
    """Set and export *variables*, whose names must be good ones."""
    statements = "; ".join(f"builtin export {name}={shlex.quote(value)}" for name, value in variables.items())
    return f"{statements or ':'}; {_mark(nonce, '$?')}\n"


def foreground_line(command: str, output: str, nonce: str) -> str:
    """Run *command* in the persistent shell itself, so that all it changes there survives."""
    return f"builtin eval {shlex.quote(command)} </dev/null >{shlex.quote(output)} 2>&1; {_mark(nonce, '$?')}\n"


def forked_line(command: str, output: str, state: str | None, nonce: str, pid_nonce: str) -> str:
    """Run *command* in a forked copy of the shell with its own process group, beside others.

    With *state*, a call that does not leave the shell early writes its :class:`ShellState` there.
    """
    body = f"builtin eval {shlex.quote(command)}"
    if state is not None:
        body += f"; __status=$?; {_dump(state)}; builtin exit $__status"
    inner = f"( {body} ) {_MARK_FD}>&- </dev/null >{shlex.quote(output)} 2>&1"
    return (
        f"set -m; {{ {inner}; {_mark(nonce, '$?')} >&{_MARK_FD}; }} {_MARK_FD}>&1 & "
        f"{_mark(pid_nonce, '$!')}; builtin disown $!; set +m\n"
    )


def dump_line(state: str, nonce: str) -> str:
    """Write the shell's present state to *state*."""
    return f"{_dump(state)}; {_mark(nonce, '$?')}\n"


def kill_line(group: int) -> str:
    """Kill the process group of a forked call."""
    return f"builtin kill -9 -- -{group} 2>/dev/null\n"


def search_command(pattern: str, path: str) -> str:
    """Return the ripgrep command of the grep tool: ``path:line:text``, sorted, no user configuration."""
    options = "--no-config --color never -n -H --no-heading --no-messages --max-columns 2000 --sort path"
    return f"command rg {options} -e {shlex.quote(pattern)} -- {shlex.quote(path)}"


def parse_state(dump: bytes) -> ShellState | None:
    """Read a dump; None when it is incomplete (the call left the shell early)."""
    head, separator, rest = dump.partition(b"\0")
    if not separator:
        return None
    text = rest.decode(errors="surrogateescape")
    exports = {match["name"]: match.group(0) for match in _STATEMENT.finditer(text)}
    return ShellState(head.decode(errors="surrogateescape"), exports)


def merge_line(base: ShellState, after: list[ShellState], nonce: str) -> str | None:
    """Return the line that brings the changes of forked calls into the shell, in order; None without any."""
    statements: list[str] = []
    for state in after:
        if state.directory != base.directory:
            statements.append(f"builtin cd -- {shlex.quote(state.directory)}")
        statements += [
            text for name, text in state.exports.items() if name not in _SHELLS_OWN and base.exports.get(name) != text
        ]
    if not statements:
        return None
    return f"builtin eval {shlex.quote(chr(10).join(statements))} >/dev/null 2>&1; {_mark(nonce, '0')}\n"
