"""The tokenizer of a model: from a chat to tokens, from tokens to text, and which tokens end an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jinja2 import TemplateError

from agents.brains.transformers.chat import Chat, refused
from agents.brains.transformers.template import (
    CALL_END,
    CALL_START,
    CHAT_TEMPLATE,
    THINKING_END,
    THINKING_START,
    TURN_END,
)

_MARKS = (CALL_START, CALL_END, THINKING_START, THINKING_END)
_TAIL = 8
"""Tokens at the end of a prompt in which an opening mark of thinking would stand."""


class PretrainedTokenizer(Protocol):
    """What is used of the tokenizers of transformers."""

    chat_template: Any
    all_special_ids: list[int]
    added_tokens_decoder: dict[int, Any]
    eos_token_id: int | None

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...

    def decode(self, token_ids: Any, **options: Any) -> Any: ...

    def encode(self, text: str, **options: Any) -> Any: ...

    def get_vocab(self) -> dict[str, int]: ...


@dataclass(frozen=True, slots=True)
class Prompted:
    """A chat as the model reads it."""

    tokens: list[int]
    is_thinking: bool
    """Whether it ends in the opening mark of thinking, so that the answer begins inside."""


class ChatTokenizer:
    """Applies a model's chat template, or the plain one when it has none. May be used from any thread."""

    def __init__(self, pretrained: PretrainedTokenizer, *, stops: Iterable[int], thinking: bool) -> None:
        """*stops* are the tokens that the model's own configuration names."""
        self._pretrained = pretrained
        self._thinking = thinking
        self._template = None if pretrained.chat_template else CHAT_TEMPLATE
        vocabulary = pretrained.get_vocab()
        turn_end = vocabulary.get(TURN_END) if self._template else None
        known = (pretrained.eos_token_id, turn_end, *stops)
        self.stops = frozenset(token for token in known if token is not None)
        self.turn_ends_in_words = self._template is not None and turn_end is None
        """Whether the end of a turn is no token, so that it must be found in the text."""
        added = pretrained.added_tokens_decoder.items()
        special = {*pretrained.all_special_ids, *(token for token, what in added if what.special)}
        self.silent = frozenset(special - {vocabulary.get(mark) for mark in _MARKS})
        """Tokens that are not part of what is said."""

    def prompt(self, chat: Chat) -> Prompted:
        """Return the tokens that the model is to continue; what looks like a mark of the template in the
        conversation is read as plain text. Raises BrainFailure when the template refuses the conversation."""
        try:
            tokens: list[int] = self._pretrained.apply_chat_template(
                chat.messages,
                tools=chat.tools or None,
                chat_template=self._template,
                add_generation_prompt=True,
                return_dict=False,
                sanitize_control_tokens=True,
                enable_thinking=self._thinking,
            )
        except (TemplateError, ValueError, TypeError) as error:
            raise refused(f"The model's chat template does not take this conversation: {error}") from error
        return Prompted(tokens, self.text_of(tokens[-_TAIL:]).rstrip().endswith(THINKING_START))

    def text_of(self, tokens: Sequence[int]) -> str:
        """Return the text of some tokens, none of them left out."""
        return self._pretrained.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False)
