"""Tokens to text while they come.

A token may be a part of a character, and how a token reads may depend on the one before it. So a few tokens are
decoded again with each new one, and text is passed on once its last character is whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
_MOST_HELD = 8
"""Tokens that may wait for the rest of a character: it has four bytes at most, so more of them are no character."""


class Decodes(Protocol):
    """The part of a tokenizer that is needed."""

    def text_of(self, tokens: Sequence[int]) -> str: ...


class Detokenizer:
    """Turns the tokens of one answer into text; tokens of *silent* have none."""

    def __init__(self, tokenizer: Decodes, silent: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._silent = silent
        self._tokens: list[int] = []
        self._told = 0
        """How many of the tokens are passed on already; they are kept as the context of those that follow."""

    def feed(self, tokens: Iterable[int]) -> str:
        """Return the text that more tokens make whole."""
        return "".join(self._take(token) for token in tokens if token not in self._silent)

    def finish(self) -> str:
        """Return what was held back, whole or not."""
        text = self._untold()
        self._told = len(self._tokens)
        return text

    def _take(self, token: int) -> str:
        self._tokens.append(token)
        held = len(self._tokens) - self._told
        text = self._untold()
        if not text or (text.endswith(_INCOMPLETE) and held < _MOST_HELD):
            return ""
        self._tokens, self._told = self._tokens[self._told :], held
        return text

    def _untold(self) -> str:
        context = self._tokenizer.text_of(self._tokens[: self._told])
        return self._tokenizer.text_of(self._tokens)[len(context) :]
