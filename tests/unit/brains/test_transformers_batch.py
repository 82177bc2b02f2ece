"""What a row of a batch scores is what its tokens score alone, whoever joins and leaves beside it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from agents.brains.transformers.batch import Batch, Prompt
from agents.brains.transformers.kv_cache import ROOM
from agents.brains.transformers.loading import load
from tests.tiny_model import tiny_definition


class Rows:
    """A batch, and the tokens of each of its rows, which are known from the scores that the test itself chose by."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.batch = Batch(model, "cpu")
        self.tokens: list[list[int]] = []

    def join(self, length: int, *, piece: int) -> None:
        tokens = [(7 * place + length) % 250 for place in range(length)]
        prompt, scores = Prompt(tokens), None
        while scores is None:
            scores = self.batch.read(prompt, piece)
        assert_alike(scores, self._alone([tokens]))
        self.batch.join(prompt)
        self.tokens.append([*tokens, length % 250])

    def step(self) -> None:
        scores = self.batch.step([tokens[-1] for tokens in self.tokens])
        assert_alike(scores, self._alone(self.tokens))
        for tokens, chosen in zip(self.tokens, scores.argmax(dim=-1).tolist(), strict=True):
            tokens.append(chosen)

    def keep(self, *rows: int) -> None:
        self.batch.keep(list(rows))
        self.tokens = [self.tokens[row] for row in rows]

    def _alone(self, rows: list[list[int]]) -> Tensor:
        return torch.stack([self.model(input_ids=torch.tensor([row]), use_cache=False).logits[0, -1] for row in rows])


def assert_alike(scores: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)


@pytest.fixture
def rows() -> Any:
    with torch.inference_mode():
        yield Rows(load(tiny_definition()).model)


def test_rows_join_and_leave_at_any_place(rows: Rows) -> None:
    rows.join(40, piece=64)
    rows.step()
    rows.join(7, piece=64)
    rows.join(130, piece=50)
    for _ in range(3):
        rows.step()
    rows.keep(0, 1)  # the longest leaves
    rows.step()
    rows.join(60, piece=9)
    rows.step()
    rows.keep(2)
    rows.step()
    rows.keep()
    assert len(rows.batch) == 0
    rows.join(5, piece=64)
    rows.step()


def test_a_row_outgrows_its_room(rows: Rows) -> None:
    rows.join(ROOM - 3, piece=ROOM)
    rows.join(5, piece=ROOM)
    for _ in range(6):
        rows.step()
    rows.keep(1)
    rows.step()
