"""The web tools as a model is offered them, and the reading of what it asks for."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.web.failures import WebFailure

WEB_FETCH, WEB_SEARCH = "web_fetch", "web_search"


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FetchInput(_Input):
    url: str = Field(min_length=1)


class SearchInput(_Input):
    query: str = Field(min_length=1)


_I = TypeVar("_I", bound=_Input)


def read_input(kind: type[_I], given: dict[str, Any]) -> _I:
    """Return a call's input. Raises WebFailure that names the field."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        words = f"{'.'.join(map(str, first['loc'])) or 'input'}: {first['msg']}"
        raise WebFailure("invalid_tool_input", words) from error


def web_definitions() -> list[dict[str, Any]]:
    """Return both tools, in the Messages API's form."""
    return [
        {
            "name": WEB_FETCH,
            "description": (
                "Read a page, a text file, a PDF or an image from the web by its URL. Pages come as Markdown, cut off "
                "where they are long. Only URLs that the user gave, or that a search or another page has shown, can "
                "be read; pages behind a login cannot."
            ),
            "input_schema": {
                "type": "object",
                "properties": {"url": {"type": "string", "description": "The full URL, with http:// or https://."}},
                "required": ["url"],
                "additionalProperties": False,
            },
        },
        {
            "name": WEB_SEARCH,
            "description": (
                "Search the web. Answers with titles, URLs and excerpts of the best hits; web_fetch reads them whole."
            ),
            "input_schema": {
                "type": "object",
                "properties": {"query": {"type": "string", "description": "What to search for."}},
                "required": ["query"],
                "additionalProperties": False,
            },
        },
    ]
