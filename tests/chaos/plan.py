"""The replay plan that the sessions play: tool rounds with effects that can be counted, in seven kinds of session.

A plan is a pure function of the conversation, so a session says the same whoever plays it. Every bash call, and
every call of the hand in sessions of the kind ``served``, feels the outside world under effect ids of its own
(``SESSION/LABEL``). When a call came back as an error, the next call does its effect again under an id that says so
(``SESSION/LABEL~STEP``), as an agent would that is told that an outcome is unknown; it goes on until one call has
succeeded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CLOSINGS = 8
"""Closing turns that a plan has; a client takes as many as it needs until one of them succeeds."""
FILE = "effects.txt"
HAND = "effects"
"""The hand that feels effects for sessions without a sandbox."""
LONG = 60
"""Sleep of the call that is interrupted, in seconds."""
_TEXT = "I go on, step by step, and say so at some length, because a half-told sentence must never be seen again. "
_SLEEP = 0.5


def said(step: int, length: int = 1) -> str:
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


def _round(script: Script, number: int, port: int) -> None:
    """Add one round of the usual work; shapes alternate."""
    label, path = f"r{number}", f"/workspace/f{number // 4}.txt"
    match number % 4:
        case 0:
            script.call(script.bash(label, port), text=True)
        case 1:
            script.writes[path] = f"file of {script.kind} {number}\n" * 50
            write = {"name": "write", "input": {"file_path": path, "content": script.writes[path]}}
            script.call(write, script.bash(label, port))
        case 2:
            script.call({"name": "read", "input": {"file_path": path}}, script.bash(label, port))
        case _:
            script.call(script.bash(label, port), script.bash(f"{label}b", port, carries=False))


def _work(script: Script, rounds: int, port: int) -> None:
    for number in range(rounds):
        _round(script, number, port)
        if number == rounds // 2 - 1:
            script.say()
    script.say()


def _ask(script: Script, rounds: int, port: int) -> None:
    """Each command is asked for; the second is refused, and asked for again by the third."""
    for number in range(rounds):
        script.call(script.bash(f"r{number}", port))
    script.denied = "r1"
    script.say()


def _custom(script: Script, rounds: int, port: int) -> None:
    """Each round also asks the client something."""
    for number in range(rounds):
        question = {"name": "weather", "as": f"c{number}", "input": {"city": f"city {number}"}}
        script.call(question, script.bash(f"r{number}", port))
    script.say()


def _stop(script: Script, rounds: int, port: int) -> None:
    """One call would take a minute and is interrupted."""
    script.call(script.bash("r0", port))
    script.call(script.bash("r1", port, after=f"sleep {LONG}"))
    script.turns += 1
    script.interrupted = "r1"
    script.call({"name": "bash", "input": {"restart": True}})  # an interrupted command may take its shell with it
    for number in range(2, rounds):
        script.call(script.bash(f"r{number}", port))
    script.say()


def _talk(script: Script, rounds: int, port: int) -> None:
    """Long texts between the calls, a turn each."""
    for number in range(rounds):
        script.call(script.bash(f"r{number}", port, after="true"))
        script.say(length=3)


def _served(script: Script, rounds: int, port: int) -> None:
    """No sandbox: the effects are a hand's, one call in each round, two at once in every other."""
    for number in range(rounds):
        calls = [script.feel(f"r{number}")]
        if number % 2:
            # Made up for by later calls, but itself only for itself: two at once must not do the same.
            script.labels[f"r{number}b"] = len(script.steps)
            alone = {"effects": f"{{{{session_id}}}}/r{number}b"}
            calls.append({"name": f"mcp__{HAND}__feel", "as": f"r{number}b", "input": alone})
        script.call(*calls, text=number == 0)
    script.say()


_KINDS = {
    "work": _work,
    "ask": _ask,
    "custom": _custom,
    "stop": _stop,
    "talk": _talk,
    "served": _served,
    "elsewhere": _work,
}
KINDS = tuple(_KINDS)


def scripts(rounds: int, port: int) -> dict[str, Script]:
    """Return the scripts of all kinds, with effects felt by the server on *port*."""
    made: dict[str, Script] = {}
    for kind, fill in _KINDS.items():
        script = made[kind] = Script(kind)
        fill(script, rounds, port)
        for _ in range(CLOSINGS):
            script.close_by_hand() if kind == "served" else script.close(port)
    return made


def plan_file(made: dict[str, Script]) -> dict[str, Any]:
    """Return the content of the plan file. Answers take a moment, so that deaths meet them half said."""
    pace = {"step_seconds": 0.4, "characters_per_second": 200}
    return {
        "plans": [
            {"name": kind, "when": f"^chaos-{kind} ", "pace": pace, "steps": script.steps}
            for kind, script in made.items()
        ]
    }
