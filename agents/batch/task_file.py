"""The format of a batch's tasks: JSON lines, one task each (docs/batch.md).

A line is checked as far as this side can know what is right; what an agent, an environment or a content block may be,
the server says when the task is run, and its refusal becomes the row's error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from agents.catalog import limits

BATCH_KEY, ROW_KEY, ATTEMPT_KEY = "batch_id", "batch_row", "batch_attempt"
"""Metadata of a row's session, by which it is found again."""
MOST_LINE_BYTES = 32 * 1024**2
"""What the server takes as the body of one request by default."""
_RESERVED = (BATCH_KEY, ROW_KEY, ATTEMPT_KEY)
_MOST_ID_CHARS = 256


class InvalidTask(Exception):
    """A line that is no task; the message says why, without the line's number."""


def _name(given: object) -> object:
    """Take a whole number for a name, too."""
    return str(given) if type(given) is int else given


class Task(BaseModel):
    """One task: what a user would say to an agent, and which."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str | None, BeforeValidator(_name)] = Field(default=None, min_length=1, max_length=_MOST_ID_CHARS)
    """Names the row in the results, unique in the file; the line's number when there is none."""
    prompt: str | None = None
    """The user's message as text."""
    content: list[dict[str, Any]] | None = Field(default=None, min_length=1)
    """The user's message as content blocks, instead of ``prompt``."""
    outcome: dict[str, Any] | None = None
    """What the agent shall work towards (``description``, ``rubric``, ``max_iterations``): ``user.define_outcome``."""
    agent: str | dict[str, Any] | None = None
    """Id of the agent, or an object with ``id`` and ``version``; the batch's agent when there is none."""
    environment: str | None = Field(default=None, min_length=1)
    """Id of the environment; the batch's when there is none."""
    title: str | None = None
    """Of the session."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """Of the session; the batch adds three pairs of its own."""
    vault_ids: list[str] = Field(default_factory=list)
    """Vaults whose credentials the session may use."""
    budget: dict[str, Any] | None = None
    """Cap on the session's cost, as the API has it."""

    @model_validator(mode="after")
    def _says_something(self) -> Task:
        if self.prompt is not None and self.content is not None:
            raise ValueError("prompt and content: only one of them")
        if self.prompt is None and self.content is None and self.outcome is None:
            raise ValueError("needs a prompt, content or an outcome")
        if self.prompt is not None and not self.prompt.strip():
            raise ValueError("prompt: must not be blank")
        if taken := next((key for key in _RESERVED if key in self.metadata), None):
            raise ValueError(f"metadata.{taken}: is the batch's own")
        if len(self.metadata) > limits.METADATA_PAIRS - len(_RESERVED):
            raise ValueError(f"metadata: at most {limits.METADATA_PAIRS - len(_RESERVED)} pairs")
        return self

    def events(self) -> list[dict[str, Any]]:
        """Return what is sent to the session."""
        sent: list[dict[str, Any]] = []
        if self.outcome is not None:
            sent.append({"type": "user.define_outcome", **self.outcome})
        if self.prompt is not None or self.content is not None:
            content = self.content or [{"type": "text", "text": self.prompt}]
            sent.append({"type": "user.message", "content": content})
        return sent


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not empty, and where in the file it is."""

    number: int
    offset: int
    length: int
    """Bytes, with the line's end."""
    raw: bytes
    """Cut off behind the longest that is read."""

    def task(self) -> Task:
        """Raises InvalidTask."""
        if len(self.raw) > MOST_LINE_BYTES:
            raise InvalidTask(f"is longer than {MOST_LINE_BYTES // 1024**2} MiB")
        return parse_task(self.raw)


def parse_task(raw: bytes) -> Task:
    """Return the task that a line says. Raises InvalidTask."""
    try:
        return Task.model_validate(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise InvalidTask(f"is not JSON: {error}") from error
    except ValidationError as error:
        raise InvalidTask(_told(error)) from error


def read_lines(file: Path) -> Iterator[Line]:
    """Yield the lines of *file* that are not empty, one in memory at a time. Raises OSError."""
    with file.open("rb") as source:
        offset = number = 0
        while raw := source.readline(MOST_LINE_BYTES + 1):
            number, length = number + 1, len(raw)
            while not raw.endswith(b"\n") and length > MOST_LINE_BYTES and (more := source.readline(MOST_LINE_BYTES)):
                length += len(more)
                if more.endswith(b"\n"):
                    break
            if raw.strip():
                yield Line(number, offset, length, raw)
            offset += length


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        what = "is no field of a task"
    return f"{where}: {what}" if where else what
