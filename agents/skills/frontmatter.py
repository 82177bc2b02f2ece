"""What a SKILL.md says of its skill: the YAML between two lines of dashes at its beginning.

The form is the Agent Skills specification's (agentskills.io), the lengths are the vendor's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import yaml

from agents.errors import InvalidRequest

FILE = "SKILL.md"
NAME_CHARS = 64
DESCRIPTION_CHARS = 1024

_BLOCK = re.compile(r"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|$)", re.DOTALL)
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_MOST_CHARS = 8_192  # ours: name, description and whatever else stands there
_MOST_DEPTH = 20  # ours


@dataclass(frozen=True, slots=True)
class Frontmatter:
    """``name`` is None where the file has none: its directory's is the skill's then."""

    name: str | None
    description: str


def frontmatter_of(content: bytes) -> Frontmatter:
    """Return what the SKILL.md *content* says of its skill. Raises InvalidRequest."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _wrong("must be UTF-8 text") from None
    found = _BLOCK.match(text)
    if found is None:
        raise _wrong("must begin with YAML between two lines of ---, with at least a description")
    said = _parsed(found.group(1))
    name = said.get("name")
    if name is not None and not isinstance(name, str):
        raise _wrong("name must be a string")
    return Frontmatter(name, _description(said.get("description")))


def checked_name(name: str) -> str:
    """Return a skill's name; raises InvalidRequest unless it is a kebab-case slug."""
    if len(name) > NAME_CHARS or not _NAME.fullmatch(name):
        words = f"a skill's name has lower-case letters, digits and single hyphens, and at most {NAME_CHARS} of them"
        raise _wrong(f"{words}, not {name[:80]!r}")
    return name


def _parsed(block: str) -> dict[str, Any]:
    if len(block) > _MOST_CHARS:
        raise _wrong(f"the YAML at its beginning must have at most {_MOST_CHARS} characters")
    try:
        _check_plain(block)
        said: object = yaml.safe_load(block)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as fault:
        # ValueError: a date or a number of a form that PyYAML cannot make. OverflowError: a character.
        raise _wrong(f"the YAML at its beginning cannot be read: {str(fault)[:200]}") from None
    if not isinstance(said, dict):
        raise _wrong("the YAML at its beginning must be a mapping with at least a description")
    return cast("dict[str, Any]", said)


def _check_plain(block: str) -> None:
    """Raise InvalidRequest for what the file's own text does not bound: aliases and merges multiply, tags construct.

    And for what is nested deeply: PyYAML's time grows with the square of the depth.
    """
    depth = 0
    for event in cast("Iterable[Any]", yaml.parse(block, yaml.SafeLoader)):  # pyright: ignore[reportUnknownMemberType]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise _wrong("the YAML at its beginning must have no tags, anchors and aliases")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEPTH:
            raise _wrong(f"the YAML at its beginning must not be nested deeper than {_MOST_DEPTH} levels")


def _description(said: object) -> str:
    description = said.strip() if isinstance(said, str) else ""
    if not description or len(description) > DESCRIPTION_CHARS:
        raise _wrong(f"description must be a string of 1 to {DESCRIPTION_CHARS} characters")
    if _NO_TEXT.search(description) or _TAG.search(description):
        raise _wrong("description must not hold XML tags, NUL or half a character")
    return description


def _wrong(words: str) -> InvalidRequest:
    return InvalidRequest(f"files: {FILE}: {words}")
