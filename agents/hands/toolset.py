"""The built-in tools as the model is offered them, and the strict reading of what it asks for.

Source: spec C.1 (``agent_toolset_20260401``). ``web_fetch`` and ``web_search`` run on the server and are
not part of this module. Invariant: input that does not fit becomes a :class:`ToolFailure` that names the
field, so that the model can mend its call; nothing is guessed or ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agents.hands.tool_failure import ToolFailure

MAX_COMMAND_CHARS = 256 * 1024
MAX_CONTENT_CHARS = 16 * 1024 * 1024
_MAX_PATH = 4096
_MAX_TIMEOUT_MS = 24 * 3600 * 1000


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @field_validator("*")
    @classmethod
    def _no_nul(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value and cls is not WriteInput and cls is not EditInput:
            raise ValueError("must not contain a NUL character")
        return value


class BashInput(_Input):
    """``command`` is required unless ``restart`` is true."""

    command: str | None = Field(default=None, max_length=MAX_COMMAND_CHARS)
    restart: bool | None = None
    timeout_ms: int | None = Field(default=None, ge=0, le=_MAX_TIMEOUT_MS)


class ReadInput(_Input):
    file_path: str = Field(min_length=1, max_length=_MAX_PATH)
    view_range: list[int] | None = None

    @field_validator("view_range")
    @classmethod
    def _two_lines(cls, value: list[int] | None) -> list[int] | None:
        if value and len(value) != 2:
            raise ValueError("must be [start_line, end_line]")
        return value or None


class WriteInput(_Input):
    file_path: str = Field(min_length=1, max_length=_MAX_PATH)
    content: str = Field(max_length=MAX_CONTENT_CHARS)


class EditInput(_Input):
    file_path: str = Field(min_length=1, max_length=_MAX_PATH)
    old_string: str = Field(min_length=1)
    new_string: str
    replace_all: bool | None = None


class GlobInput(_Input):
    pattern: str = Field(min_length=1, max_length=_MAX_PATH)
    path: str | None = Field(default=None, max_length=_MAX_PATH)


class GrepInput(_Input):
    pattern: str = Field(min_length=1, max_length=_MAX_PATH)
    path: str | None = Field(default=None, max_length=_MAX_PATH)


ToolInput = BashInput | ReadInput | WriteInput | EditInput | GlobInput | GrepInput

_INPUTS: dict[str, type[BashInput | ReadInput | WriteInput | EditInput | GlobInput | GrepInput]] = {
    "bash": BashInput,
    "read": ReadInput,
    "write": WriteInput,
    "edit": EditInput,
    "glob": GlobInput,
    "grep": GrepInput,
}
TOOL_NAMES: tuple[str, ...] = tuple(_INPUTS)
REPEATABLE = frozenset({"read", "glob", "grep", "write"})
"""Tools that may run again when nobody knows whether they ran: three only look, and ``write`` puts the same whole
content in the same place. Not ``edit``, which finds its text replaced the second time, and never ``bash``."""


def parse_input(name: str, raw: dict[str, Any]) -> ToolInput:
    """Return the validated input of the tool *name*; raises ToolFailure naming the field that is wrong."""
    model = _INPUTS.get(name)
    if model is None:
        raise ToolFailure(f"unknown tool {name!r}; the built-in tools are {', '.join(TOOL_NAMES)}")
    try:
        parsed = model.model_validate(raw)
    except ValidationError as error:
        raise ToolFailure(f"{name}: {'; '.join(_faults(error))}") from error
    if isinstance(parsed, BashInput) and not parsed.restart and not parsed.command:
        raise ToolFailure("bash: command: is required unless restart is true")
    return parsed


def _faults(error: ValidationError) -> Iterable[str]:
    for fault in error.errors(include_url=False, include_input=False):
        field = ".".join(str(part) for part in fault["loc"]) or "input"
        yield f"{field}: {fault['msg'].removeprefix('Value error, ')}"


def tool_definitions(enabled_names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the Messages-API definitions of those built-in tools that are in *enabled_names*, in fixed order."""
    enabled = set(enabled_names)
    return [definition for definition in _definitions() if definition["name"] in enabled]


def _tool(name: str, description: str, required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"name": name, "description": description, "input_schema": schema}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


_PLACE = "Relative paths start at /workspace."


def _definitions() -> list[dict[str, Any]]:
    return [
        _tool(
            "bash",
            "Run a command in a persistent bash shell inside the sandbox. The working directory, variables and "
            "functions last from call to call. Standard output and error come back together; standard input is "
            "empty. A command that times out or exits the shell ends it: call again with restart set to true.",
            [],
            command=_text("The command to run. Required unless restart is true."),
            restart={"type": "boolean", "description": "Start a fresh shell instead of running a command."},
            timeout_ms={"type": "integer", "description": "Time limit in milliseconds; 0 or absent is the default."},
        ),
        _tool(
            "read",
            "Read a text file, an image (png, jpeg, gif, webp) or a PDF. Text comes without line numbers. "
            "For files over 256 KiB give a view_range.",
            ["file_path"],
            file_path=_text(f"Path of the file. {_PLACE}"),
            view_range={
                "type": "array",
                "items": {"type": "integer"},
                "description": "[start_line, end_line], from 1, both included; an end of 0 or less is the last line.",
            },
        ),
        _tool(
            "write",
            "Write a file, replacing what it held; missing directories are made.",
            ["file_path", "content"],
            file_path=_text(f"Path of the file. {_PLACE}"),
            content=_text("The whole new content."),
        ),
        _tool(
            "edit",
            "Replace text in a file. old_string must match exactly, and only once unless replace_all is true.",
            ["file_path", "old_string", "new_string"],
            file_path=_text(f"Path of the file. {_PLACE}"),
            old_string=_text("The text to find, exactly as it is in the file."),
            new_string=_text("The text to put in its place."),
            replace_all={"type": "boolean", "description": "Replace every occurrence."},
        ),
        _tool(
            "glob",
            "Find files and directories by name, newest first, at most 200. * and ? stay within one directory, "
            "** spans any number of them, {a,b} is either.",
            ["pattern"],
            pattern=_text("A relative pattern such as **/*.py."),
            path=_text("Directory to search in; /workspace when absent."),
        ),
        _tool(
            "grep",
            "Search file contents with a regular expression (ripgrep syntax; honours .gitignore). "
            "Answers with path:line:text lines.",
            ["pattern"],
            pattern=_text("The regular expression."),
            path=_text("File or directory to search; /workspace when absent."),
        ),
    ]
