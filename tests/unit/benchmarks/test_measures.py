"""What the benchmarks conclude from samples and from /proc."""

from __future__ import annotations

import os

import pytest

from benchmarks.processes import Process, counts, cpu_between, memory, snapshot
from benchmarks.report import tool_spans
from benchmarks.samples import difference_of_medians, quantile, ratio_of_medians, slope


def test_a_slope_is_found_with_its_error() -> None:
    rise, error = slope([(x, 3 * x + (1 if x % 2 else -1)) for x in range(100)])
    assert rise == pytest.approx(3, abs=0.02)
    assert 0 < error < 0.02


def test_a_flat_line_is_within_its_error() -> None:
    rise, error = slope([(x, 100 + (x * 7919) % 13) for x in range(50)])
    assert abs(rise) <= error


def test_quantiles_and_ratios() -> None:
    assert quantile([3, 1, 2], 0.5) == 2
    assert quantile(range(100), 0.95) == 95
    ratio, low, high = ratio_of_medians([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert low <= ratio == 2 <= high
    added, low, high = difference_of_medians([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert low <= added == 2 <= high


def test_sandboxes_that_ended_count_as_sandboxes_without_what_they_spent_before() -> None:
    before = {1: Process(1, 0, "sandbox host", 5.0, 2.0), 2: Process(2, 1, "sandboxes", 0.5, 0.0)}
    after = {1: Process(1, 0, "sandbox host", 6.0, 4.0), 3: Process(3, 1, "sandboxes", 0.25, 0.0)}
    spent = cpu_between(before, after)
    assert spent["sandbox host"] == pytest.approx(1.0)
    assert spent["sandboxes"] == pytest.approx(2.0 - 0.5 + 0.25)


def test_this_process_is_seen_with_its_memory_and_descriptors() -> None:
    found = snapshot(os.getpid())
    assert os.getpid() in found
    proportional, unbacked = memory(found)
    assert sum(proportional.values()) >= sum(unbacked.values()) > 1e6
    assert counts(found)["descriptors"] >= 3


def test_a_turn_of_tools_lasts_from_the_first_call_to_the_last_result() -> None:
    def event(kind: str, second: int) -> dict[str, str]:
        return {"type": kind, "processed_at": f"2026-01-01T00:00:{second:02}Z"}

    turn = [event("agent.tool_use", 1), event("agent.tool_use", 2), event("agent.tool_result", 3)]
    turn += [event("agent.tool_result", 5), event("session.thread_status_idle", 9)]
    assert tool_spans(turn + turn) == [4.0, 4.0]
