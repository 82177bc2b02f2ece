"""Prices: longest prefix, exact integers, one rounding."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.brain_settings import BrainPrice
from agents.brains.assembly import TokenUsage
from agents.economics.price_book import PriceBook, PriceBookError

BOOK = """
running_hour: "0.08"
models:
  claude-: {input: "5", output: "25"}
  claude-opus-: {input: "10", output: "50", fast: "2.5"}
  claude-opus-4-5: {input: 1.5, output: 2, cache_read: "0.1", cache_write_5m: "3", cache_write_1h: "4"}
  tiny: {input: "0.1", output: "0.5", long_prompt: {over_tokens: 1000, input: "0.5", output: "2.5"}}
"""


@pytest.fixture
def book(tmp_path: Path) -> PriceBook:
    return write(tmp_path, BOOK)


def write(folder: Path, text: str) -> PriceBook:
    file = folder / "prices.yaml"
    file.write_text(text)
    return PriceBook.load(file)


@pytest.mark.parametrize(
    ("model", "prefix"),
    [
        ("claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("claude-opus-4-5", "claude-opus-4-5"),
        ("claude-opus-9", "claude-opus-"),
        ("claude-unheard-of", "claude-"),
    ],
)
def test_the_longest_prefix_counts(book: PriceBook, model: str, prefix: str) -> None:
    found = book.price(model)
    assert found is not None
    assert found.prefix == prefix


@pytest.mark.parametrize("model", ["qwen3-8b", "", "Claude-opus-4", "my-claude-opus-4"])
def test_a_model_of_ones_own_has_no_price_and_costs_nothing(book: PriceBook, model: str) -> None:
    assert book.price(model) is None
    assert book.cost(model, TokenUsage(10**9, 10**9)) == 0


def test_a_thousand_web_searches_cost_ten_dollars_unless_a_book_says_otherwise(book: PriceBook, tmp_path: Path) -> None:
    assert book.web_search_micro_usd == PriceBook.load().web_search_micro_usd == 10_000
    assert write(tmp_path, f'web_searches: "0.5"{BOOK}').web_search_micro_usd == 500


def test_every_kind_of_token_has_its_rate(book: PriceBook) -> None:
    million = 10**6
    model = "claude-opus-4-5"
    assert book.cost(model, TokenUsage(input_tokens=million)) == 1_500_000
    assert book.cost(model, TokenUsage(output_tokens=million)) == 2_000_000
    assert book.cost(model, TokenUsage(cache_read_input_tokens=million)) == 100_000
    assert book.cost(model, TokenUsage(cache_creation_5m=million)) == 3_000_000
    assert book.cost(model, TokenUsage(cache_creation_1h=million)) == 4_000_000


def test_cache_rates_follow_from_the_input_rate(book: PriceBook) -> None:
    million = 10**6
    usage = [TokenUsage(0, 0, million), TokenUsage(0, 0, 0, million), TokenUsage(0, 0, 0, 0, million)]
    assert [book.cost("claude-x", one) for one in usage] == [500_000, 6_250_000, 10_000_000]


def test_fast_speed_multiplies(book: PriceBook) -> None:
    usage = TokenUsage(1_000_000, 1_000_000)
    assert book.cost("claude-opus-9", usage, speed="fast") == 150_000_000
    assert book.cost("claude-opus-9", usage, speed="standard") == 60_000_000
    assert book.cost("claude-x", usage, speed="fast") == book.cost("claude-x", usage)


def test_a_long_prompt_pays_the_long_rates_for_everything(book: PriceBook) -> None:
    assert book.cost("tiny", TokenUsage(1000, 1000)) == 600
    assert book.cost("tiny", TokenUsage(1001, 1000)) == 3001  # 500.5 + 2500, half up


def test_cached_tokens_count_towards_a_long_prompt(book: PriceBook) -> None:
    usage = TokenUsage(1, 1000, 500, 250, 250)
    assert book.cost("tiny", usage) == 2932  # 0.5 + 2500 + 25 + 156.25 + 250


def test_a_request_is_rounded_half_up_to_micro_usd(book: PriceBook) -> None:
    assert book.cost("tiny", TokenUsage(4, 0)) == 0
    assert book.cost("tiny", TokenUsage(5, 0)) == 1


def test_huge_counts_stay_exact(book: PriceBook) -> None:
    assert book.cost("claude-opus-4-5", TokenUsage(output_tokens=10**15 + 1)) == 2 * (10**15 + 1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "file"),
        ("models: {}", "running_hour"),
        ("running_hour: -1\nmodels: {}", "running_hour"),
        ("running_hour: 0\nmodels: {}\nmodel: {}", "model"),
        ("running_hour: 0\nmodels: {a: {input: 1}}", "models.a.output"),
        ("running_hour: 0\nmodels: {a: {input: 1, output: 1, cached: 1}}", "models.a.cached"),
        ("running_hour: 0\nmodels: {a: {input: 0.0000001, output: 1}}", "models.a.input"),
        ("running_hour: 0\nmodels: {a: {input: .nan, output: 1}}", "models.a.input"),
        ("running_hour: 0\nmodels: {a: {input: 1, output: 1, fast: 0.5}}", "models.a.fast"),
        ("running_hour: [", ""),
    ],
)
def test_a_broken_file_is_refused_by_file_and_key(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(PriceBookError, match=rf"prices\.yaml: {named}"):
        write(tmp_path, text)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PriceBookError, match="absent"):
        PriceBook.load(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("model", "input_micro_usd", "output_micro_usd"),
    [
        ("claude-opus-4-1-20250805", 15_000_000, 75_000_000),
        ("claude-opus-4-8", 5_000_000, 25_000_000),
        ("claude-opus-5-5", 4_000_000, 20_000_000),
        ("claude-sonnet-4-5-20250929", 3_000_000, 15_000_000),
        ("claude-sonnet-5", 2_000_000, 10_000_000),
        ("claude-haiku-4-5", 1_000_000, 5_000_000),
        ("claude-haiku-5-5", 100_000, 500_000),
        ("claude-3-5-haiku-latest", 800_000, 4_000_000),
        ("claude-of-tomorrow", 5_000_000, 25_000_000),
    ],
)
def test_the_built_in_book_knows_the_families(model: str, input_micro_usd: int, output_micro_usd: int) -> None:
    found = PriceBook.load().price(model)
    assert found is not None
    assert (found.rates.input, found.rates.output) == (input_micro_usd, output_micro_usd)


@pytest.mark.parametrize(
    ("own", "micro_usd"),
    [
        # The list price: $5 and $25 a million.
        (None, 5_000 + 50_000 + 500),
        (BrainPrice(), 5_000 + 50_000 + 500),
        (BrainPrice(input_mtok=0.1, output_mtok=0.7), 100 + 10 + 1400),
        # Paid by the hour: a token more costs nothing.
        (BrainPrice(gpu_hour=2.5), 0),
        # More decimals than the book may have.
        (BrainPrice(input_mtok=0.00000014), 0),
    ],
)
def test_a_brains_own_price_goes_before_the_list(own: BrainPrice | None, micro_usd: int) -> None:
    usage = TokenUsage(input_tokens=1000, output_tokens=2000, cache_read_input_tokens=1000)
    assert PriceBook.load().cost("claude-opus-4-8", usage, own=own) == micro_usd
