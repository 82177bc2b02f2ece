"""What the model is told in front of the first result after its sandbox was replaced.

A model that believes in a shell, a server or a file that is gone goes wrong without noticing; so it is told,
once, what is as it was and what is not.
"""

from __future__ import annotations

from typing import Any

_SHELL = "The shell is new: its working directory, variables and background processes are gone."
_SCRATCH = "temporary files are gone"

IDLE = f"The sandbox was put away while it was not in use and has been started again. All files are intact. {_SHELL}"
HOST_RESTARTED = f"The server that runs the sandbox was restarted. All files are intact. {_SHELL}"
DIED = f"The sandbox ended unexpectedly between two calls and has been started again. All files are intact. {_SHELL}"
PACKAGES_CHANGED = (
    f"The sandbox was started again because the packages of its environment changed. All files are intact. {_SHELL}"
)
RESTORED = (
    "The sandbox was made again from a checkpoint. The files in /workspace, /home/agent and /mnt/session/outputs are "
    f"as they were after the last finished call; {_SCRATCH}. {_SHELL}"
)
RESTORED_OLDER = (
    "The sandbox was made again from an older checkpoint: the latest changes to files could not be saved and are LOST. "
    "Look at the files in /workspace, /home/agent and /mnt/session/outputs before you rely on them; "
    f"{_SCRATCH}. {_SHELL}"
)
FILES_OLDER = (
    "The sandbox was started again on older files: the latest changes to files could not be saved and are LOST. "
    f"Look at the files before you rely on them. {_SHELL}"
)
FILES_LOST = (
    "The machine that had this session's files is gone, and no checkpoint of them exists: all files are LOST and "
    f"/workspace is as at the session's start. {_SHELL}"
)
MOUNTS_NOT_KEPT = (
    "What was changed in the session's memory stores could not be kept in time. It is tried again with the next call."
)
_MAX_NAMED = 5
_MAX_PATH = 200
_PLACES = {
    "workspace": "/workspace",
    "home": "/home/agent",
    "outputs": "/mnt/session/outputs",
    "uploads": "/mnt/session/uploads",
}


def damaged(names: list[str]) -> str:
    """Say which files a checkpoint could not give back."""
    return f"These files were damaged in the checkpoint and are LOST: {_listed(names)}."


def not_kept(outputs: list[str]) -> str:
    """Say which outputs the user will not get."""
    named = _listed([f"outputs/{path}" for path in outputs])
    return f"The user does not get these outputs: {named}. They are too many or too large, or so named."


def not_there(uploads: list[str]) -> str:
    """Say which uploaded files have no bytes any more."""
    named = _listed([f"uploads/{path}" for path in uploads])
    return f"These uploaded files have expired or were deleted, and are not in the sandbox: {named}."


def _listed(names: list[str]) -> str:
    named = ", ".join(_shown(name) for name in names[:_MAX_NAMED])
    return named + (f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else "")


def _shown(path: str) -> str:
    top, _, rest = path.partition("/")
    return f"{_PLACES.get(top, top)}/{rest}".encode(errors="replace").decode()[:_MAX_PATH]


def notice_block(text: str) -> dict[str, Any]:
    """Wrap a notice as content that cannot be taken for a tool's output."""
    return {"type": "text", "text": f"<system-note>{text}</system-note>"}
