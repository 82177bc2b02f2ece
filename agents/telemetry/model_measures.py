"""The figures of a model request that has ended, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping

from agents.economics.price_book import MICRO
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder


def count_request(recorder: Recorder, brain: str, outcome: str, usage: Mapping[str, int], micro_usd: int) -> None:
    """Count a request to *brain* (an id), with its tokens as the API tells them (``model_usage``) and their cost."""
    recorder.count(catalogue.MODEL_REQUESTS, brain, outcome)
    for kind in ("input", "output"):
        recorder.count(catalogue.TOKENS, brain, kind, by=usage[f"{kind}_tokens"])
    for kind in ("cache_read", "cache_creation"):
        recorder.count(catalogue.TOKENS, brain, kind, by=usage[f"{kind}_input_tokens"])
    recorder.count(catalogue.COST, brain, by=micro_usd / MICRO)
