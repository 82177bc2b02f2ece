"""The docs agree with each other and with the command line: links lead somewhere, commands exist, no page is lost."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from agents.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("adr/*.md"), ROOT / "README.md"])
_COMING: set[str] = set()
"""Named in the settings or pages before they are there."""
_FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\[]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
_COMMAND = re.compile(r"(?:`|^\$ |^# |\.venv/bin/|/bin/)(hecaton(?: [^`\n#|]*)?)", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text_of(page))):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        while anchor in found:
            anchor += "-1"
        found.add(anchor)
    return frozenset(found)


def broken(page: Path) -> Iterator[str]:
    for link in _LINK.findall(_FENCE.sub("", text_of(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{link}: there is no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


def test_the_index_has_every_page_once() -> None:
    links = [link for link in _LINK.findall(text_of(DOCS / "README.md")) if link.endswith(".md")]
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert sorted(link for link in links if "/" not in link) == sorted(pages)


# -- commands --------------------------------------------------------------------------------------


@cache
def command_line() -> Any:
    return typer.main.get_command(app)


def fault_of(line: str) -> str | None:
    """Why `hecaton ...` of the docs is no command; None when it is one, or only the beginning of one."""
    words = shlex.split(re.split(r"\s(?:#|\||>|&&|;|\\$)", line)[0].replace("...", " ").replace("…", " "))[1:]
    command = command_line()
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0).rstrip(",.;:)")
        if name not in command.commands:
            return None if name.isupper() else f"{command.name} has no command {name!r}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    given = [word.partition("=")[0] for word in words if re.fullmatch(r"--[a-z][\w-]*(=.*)?", word)]
    missing = [option for option in given if option not in known | {"--help"}]
    return f"{command.name} has no option {', '.join(missing)}" if missing else None


def commands_in(text: str) -> list[str]:
    found = [each.strip() for each in _COMMAND.findall(text)]
    # Not a command but a path, a module, or a word about it (`hecaton.yaml`, `hecaton_turns_total`).
    return [each for each in found if re.match(r"hecaton( [a-z-]|$)", each)]


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name != "adr"], ids=name_of)
def test_every_command_and_option_that_is_named_exists(page: Path) -> None:
    assert [f"{line}: {fault}" for line in commands_in(text_of(page)) if (fault := fault_of(line))] == []


def test_a_command_that_is_not_there_is_found() -> None:
    text = "run `hecaton frobnicate` or\n$ hecaton roll --now   # this\n and `hecaton sessions lits`, not `hecaton up`"
    assert [bool(fault_of(line)) for line in commands_in(text)] == [True, True, True, False]


def test_every_command_is_named_somewhere() -> None:
    everything = "\n".join(map(text_of, PAGES))
    assert [name for name in command_line().commands if f"hecaton {name}" not in everything] == []
