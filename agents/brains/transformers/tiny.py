"""Builds a tiny model with random weights and a tokenizer of bytes: the whole engine runs with it, nothing is fetched.

``python -m agents.brains.transformers.tiny FOLDER``. What it says is noise; for tests it can be taught.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agents.brains.transformers.template import (
    CALL_END,
    CALL_START,
    CHAT_TEMPLATE,
    THINKING_END,
    THINKING_START,
    TURN_END,
    TURN_START,
)

SEED = 7
CONTEXT_TOKENS = 4096
_TURNS = (TURN_START, TURN_END)
_MARKS = (CALL_START, CALL_END, THINKING_START, THINKING_END)


def build(folder: Path) -> None:
    """Write the model and its tokenizer into *folder*; the same bytes each time."""
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer.get_vocab()),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        # Far above the usual 0.02: else all that came before would hardly matter to what comes next.
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(TURN_END),
        pad_token_id=None,
    )
    random: Any = torch.random
    with random.fork_rng(devices=[]):
        random.manual_seed(SEED)
        model: Any = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def byte_tokenizer() -> Any:
    """A token for each byte, for the marks of turns, of calls and of thinking."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer: Any = Tokenizer(
        models.BPE(vocab={character: place for place, character in enumerate(alphabet)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in _TURNS])
    tokenizer.add_tokens([AddedToken(mark, special=False) for mark in _MARKS])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=TURN_END, chat_template=CHAT_TEMPLATE)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m agents.brains.transformers.tiny FOLDER")
    build(Path(sys.argv[1]))
