"""The kinds of session that use more than a sandbox: files, memory, skills, agents that delegate, outcomes."""

from __future__ import annotations

from typing import Any

from tests.chaos.script import Script, said

MOUNT = "/given.txt"
UPLOAD = f"/mnt/session/uploads{MOUNT}"
GIVEN = "what was uploaded, and must be read as it was\n"
SKILL_NAME = "chaos-skill"
SKILL = f"---\nname: {SKILL_NAME}\ndescription: Goes on, whatever dies.\n---\nGo on, step by step.\n"
REPOSITORY = "/workspace/project"
CLONED = "cloned: main"
"""What a call says of the repository's README."""
OUTPUTS = "/mnt/session/outputs"
STORE = "notes"
LOG = "/log.md"
"""The memory to which every call of the kind ``mounted`` adds a line."""
NOTE = "/note.md"
"""The memory that is written once, by a tool that may be repeated."""
HELPER = "chaos-helper"
TASK = f"{HELPER} has a task"
RUBRIC = "It was gone on with, and once more."
_MEMORY = f"/mnt/memory/{STORE}"
_SKILL_FILE = f"/workspace/skills/{SKILL_NAME}/SKILL.md"
_GRADE = r"^Grade this outcome\."
GRADERS: list[dict[str, Any]] = [
    {
        "name": "strict",
        "when": f"{_GRADE} Evaluation 1 of",
        "steps": [{"text": "<result>needs_revision</result><explanation>Once more.</explanation>"}],
    },
    {
        "name": "kind",
        "when": _GRADE,
        "steps": [{"text": "<result>satisfied</result><explanation>It was.</explanation>"}],
    },
]
"""The first evaluation of each outcome asks for a revision, the second is satisfied."""


def mounted(script: Script, rounds: int, port: int) -> None:
    """Each call reads a repository, a file and a skill, and leaves an output and a line in the memory."""
    path = f"{_MEMORY}{NOTE}"
    script.writes[path] = f"note of {script.kind}\n" * 50
    for number in range(rounds):
        label = f"r{number}"
        line = f"echo {{{{session_id}}}}/{label}"
        clone = f"echo cloned: $(cat {REPOSITORY}/README)"
        look = f"cat {UPLOAD} {_SKILL_FILE} && {clone} && ! (echo x >> {UPLOAD}) 2>&1"
        leave = f"sleep 0.3 && {line} > {OUTPUTS}/{label}.txt && {line} >> {_MEMORY}{LOG}"
        call = script.bash(label, port, after=f"{look} && {leave}")
        match number:
            case 0:
                script.call({"name": "write", "input": {"file_path": path, "content": script.writes[path]}}, call)
            case 1:
                script.call({"name": "read", "input": {"file_path": path}}, call)
            case _:
                script.call(call)
        if number == rounds // 2 - 1:
            script.say()
    script.say()


def team(script: Script, rounds: int, port: int) -> None:
    """A coordinator, which delegates once and says something when it hears of the end.

    It may hear of it before or after its own turn has ended: what it says depends on the newest message alone.
    """
    del rounds, port
    script.each_turn, script.turns = True, 1
    task = {"agent": HELPER, "message": f"{TASK} in {{{{session_id}}}}"}
    delegate = {"name": "create_agent", "if": "'turn 0' in message", "input": task}
    script.steps += [{"text": said(_mark(0)), "tools": [delegate]}, {"text": said(_mark(1))}]


def _mark(step: int) -> str:
    turn = f"{{{{ message | find('turn ([0-9]+)') }}}}.{step}"
    return f"{{% if 'chaos-team ' in message %}}{turn}{{% else %}}report{{% endif %}}"


def helper(port: int) -> Script:
    """What the agent does to which a coordinator delegates: two calls, and a report."""
    script = Script("helper")
    script.call(script.bash("h0", port))
    script.call(script.bash("h1", port))
    script.say()
    return script


def judged(script: Script, rounds: int, port: int) -> None:
    """A turn of the usual kind, then one towards an outcome, which is revised once."""
    del rounds
    script.call(script.bash("r0", port))
    script.say()
    script.outcome = script.turns
    for label in ("r1", "r2"):
        script.call(script.bash(label, port))
        script.say()
    script.turns = script.outcome + 1
