"""How a web tool says no: a result with ``is_error`` whose text names the code of the Messages API's own web tools."""

from __future__ import annotations

from typing import Literal

Code = Literal[
    "invalid_tool_input",
    "url_too_long",
    "url_not_allowed",
    "url_not_in_prior_context",
    "url_not_accessible",
    "unsupported_content_type",
    "content_too_large",
    "query_too_long",
    "too_many_requests",
    "unavailable",
]


class WebFailure(Exception):
    """A web tool call that comes to nothing; *words* are for the model."""

    def __init__(self, code: Code, words: str) -> None:
        super().__init__(f"{code}: {words}")
        self.code: Code = code
        self.words = words
