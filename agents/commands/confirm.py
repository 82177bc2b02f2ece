"""Asking the person at the terminal whether a tool may run.

Without a terminal nobody can be asked: the policy given by the command then decides, and says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from agents.commands.timeline import Event, input_line, part, printable, tool_of

Policy = Literal["ask", "allow", "deny"]


class Confirmer:
    """Turns a tool use that asks for permission into a ``user.tool_confirmation``.

    *pause* suspends the live display while the question is on screen; *read* reads one line.
    """

    def __init__(
        self,
        console: Console,
        policy: Policy,
        pause: Callable[[], AbstractContextManager[None]],
        read: Callable[[str], str] = input,
    ) -> None:
        self._console = console
        self._policy: Policy = policy
        self._pause = pause
        self._read = read

    def __call__(self, call: Event) -> dict[str, Any]:
        match self._policy:
            case "allow":
                self._note("nobody to ask here: allowed")
                return _verdict(call, allow=True)
            case "deny":
                self._note("nobody to ask here: denied (--yes allows)")
                return _verdict(call, allow=False, reason="Nobody is there to confirm this call.")
            case "ask":
                with self._pause():
                    return self._ask(call)

    def _ask(self, call: Event) -> dict[str, Any]:
        name = tool_of(call)
        line = input_line(name, part(call, "input"))
        self._console.print(Text.assemble("\n  The agent asks to run ", (name, "bold yellow"), f"  {line}"))
        while True:
            try:
                reply = self._read("  Allow it? [y]es, [n]o, [s]how it all: ").strip().lower()
            except EOFError:
                return _verdict(call, allow=False, reason="The user left.")
            if reply in ("y", "yes"):
                return _verdict(call, allow=True)
            if reply in ("n", "no"):
                return _verdict(call, allow=False, reason=self._reason())
            if reply in ("s", "show"):
                for key, value in part(call, "input").items():
                    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                    self._console.print(Text(f"  {key}:", style="bold"))
                    self._console.print(Text(printable(shown)))

    def _reason(self) -> str | None:
        try:
            return self._read("  Why? (the agent reads this; Enter for no reason): ").strip() or None
        except EOFError:
            return None

    def _note(self, text: str) -> None:
        self._console.print(Text(f"{'':20}({text})", style="dim"), soft_wrap=True)


def _verdict(call: Event, *, allow: bool, reason: str | None = None) -> dict[str, Any]:
    verdict = {
        "type": "user.tool_confirmation",
        "tool_use_id": str(call.get("id")),
        "result": "allow" if allow else "deny",
    }
    return {**verdict, "deny_message": reason} if reason else verdict
