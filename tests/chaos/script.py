"""A script: what one kind of session does, step by step, and what its client has to do.

Every bash call, and every call of the hand in sessions of the kind ``served``, feels the outside world under effect ids
of its own (``SESSION/LABEL``). When a call came back as an error, the next call does its effect again under an id that
says so (``SESSION/LABEL~STEP``), as an agent would that is told that an outcome is unknown; it goes on until one call
has succeeded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FILE = "effects.txt"
HAND = "effects"
"""The hand that feels effects for sessions without a sandbox."""
_TEXT = "I go on, step by step, and say so at some length, because a half-told sentence must never be seen again. "
_SLEEP = 0.5


def said(step: int | str, length: int = 1) -> str:
    """The text of one answer; it can be told whether it is whole, and no two answers of a session are equal."""
    return f"<{step}: {_TEXT * length}:{step}>"


@dataclass(slots=True)
class Script:
    """One kind of session: its steps, and what its client has to do."""

    kind: str
    steps: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    """Every call with an effect and its step."""
    carriers: list[tuple[int, str]] = field(default_factory=list)
    """Step and label of the calls that also make up for failed ones."""
    turns: int = 0
    """Turns before the closing ones."""
    closings: int = 0
    denied: str = ""
    """Label of the call that the client refuses."""
    interrupted: str = ""
    """Label of the call that the client interrupts."""
    writes: dict[str, str] = field(default_factory=dict)
    """Content of every file that is written and read, by path."""
    each_turn: bool = False
    """Whether every message starts the steps anew: then it does not matter how many answers came before."""
    begun: bool = False
    """Whether the session comes with its first message."""
    outcome: int | None = None
    """The turn that begins with an outcome instead of a message."""

    @property
    def bases(self) -> list[str]:
        """Labels of the effects that must have happened before the end."""
        return [label for label in self.labels if not label.startswith("close")]

    def say(self, length: int = 1) -> None:
        """End a turn."""
        self.steps.append({"text": said(len(self.steps), length)})
        self.turns += 1

    def call(self, *tools: dict[str, Any], text: bool = False) -> None:
        head = {"text": said(len(self.steps))} if text else {}
        self.steps.append({**head, "tools": list(tools)})

    def bash(self, label: str, port: int, *, after: str = f"sleep {_SLEEP}", carries: bool = True) -> dict[str, Any]:
        """Return a bash call with the effect *label*; the first of a step also makes up for what failed before."""
        step = len(self.steps)
        made_up = self._made_up(step) if carries else ""
        self.labels[label] = step
        if carries:
            self.carriers.append((step, label))
        command = _feel(port) + made_up + f"e {{{{session_id}}}}/{label} && {after}"
        return {"name": "bash", "as": label, "input": {"command": command}}

    def feel(self, label: str) -> dict[str, Any]:
        """Return a call of the hand with the effect *label*; it also makes up for what failed before."""
        step = len(self.steps)
        effects = self._made_up(step, "", " ") + f"{{{{session_id}}}}/{label}"
        self.labels[label] = step
        self.carriers.append((step, label))
        return {"name": f"mcp__{HAND}__feel", "as": label, "input": {"effects": effects}}

    def close_by_hand(self) -> None:
        """Add a closing turn without a shell: make up for what failed."""
        self.closings += 1
        step = len(self.steps)
        self.call(self.feel(f"close{step}"))
        self.steps.append({"text": said(step + 1)})

    def close(self, port: int) -> None:
        """Add a closing turn: make up for what failed, then show the file of effects. Later ones restart the shell."""
        if self.closings:
            self.call({"name": "bash", "input": {"restart": True}})
        self.closings += 1
        step = len(self.steps)
        label = f"close{step}"
        command = _feel(port) + self._made_up(step) + f"touch {FILE} && cat {FILE}"
        self.labels[label] = step
        self.carriers.append((step, label))
        self.steps.append({"tools": [{"name": "bash", "as": label, "input": {"command": command}}]})
        self.steps.append({"text": said(step + 1)})

    def _made_up(self, step: int, before: str = "e ", after: str = " && ") -> str:
        parts: list[str] = []
        for label, at in self.labels.items():
            if label.startswith("close"):
                continue
            failed = [label, *(carrier for when, carrier in self.carriers if at < when < step)]
            condition = " and ".join(f"named.{name}.is_error" for name in failed)
            parts.append(f"{{% if {condition} %}}{before}{{{{session_id}}}}/{label}~{step}{after}{{% endif %}}")
        return "".join(parts)


def _feel(port: int) -> str:
    # Outside first, then the file: a file that names an effect proves that it was felt. The sandbox's proxy is
    # asked by hand, for it then passes any bytes on.
    return (
        f"e() {{ exec 3<>/dev/tcp/127.0.0.1/3128 && echo -e 'CONNECT 127.0.0.1:{port} HTTP/1.1\\r\\n"
        f"Host: 127.0.0.1:{port}\\r\\n\\r' >&3 && read -r -t 20 _ a _ <&3 && [ $a = 200 ] "
        f"&& read -r -t 20 _ <&3 && echo $1 >&3 && read -r -t 20 _ <&3 && exec 3>&- "
        f"&& echo $1 >> {FILE}; }}; "
    )
