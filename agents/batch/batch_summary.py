"""What became of a batch as a whole, from its journal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from agents.batch.journal import Journal
from agents.statistics.percentiles import percentile

_MOST_KINDS = 20
_TOTALS = """
SELECT count(*) AS rows, coalesce(sum(done), 0) AS done,
    coalesce(sum(outcome = 'ok' AND done), 0) AS ok, coalesce(sum(outcome = 'error' AND done), 0) AS errors,
    coalesce(sum(outcome = 'invalid'), 0) AS invalid, coalesce(sum(attempts), 0) AS sessions,
    coalesce(sum(input_tokens), 0) AS input_tokens, coalesce(sum(output_tokens), 0) AS output_tokens,
    coalesce(sum(cache_read_input_tokens), 0) AS cache_read_input_tokens,
    coalesce(sum(cache_creation_input_tokens), 0) AS cache_creation_input_tokens,
    coalesce(sum(cost_micro_usd), 0) AS cost_micro_usd
FROM rows
"""
_KINDS = """
SELECT error_type, count(*) AS rows, min(line) AS first_line, error FROM rows
WHERE done AND outcome != 'ok' GROUP BY error_type ORDER BY rows DESC, error_type LIMIT ?
"""
_SECONDS = "SELECT ended - began FROM rows WHERE done AND outcome = 'ok' ORDER BY 1"


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """Rows that ended in the same kind of error, and what the first of them says."""

    error_type: str
    rows: int
    first_line: int
    first_error: str


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """A batch, over all its runs; ``sessions`` are those that were made for it."""

    batch: str
    rows: int
    done: int
    ok: int
    errors: int
    invalid: int
    sessions: int
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    cost_usd: Decimal
    duration_seconds: dict[str, float | None]
    """p50, p95 and max over the rows that are ok, from their beginning to their end."""
    error_kinds: tuple[ErrorKind, ...]

    def wire(self) -> dict[str, Any]:
        """Return it as JSON; the amount is a string."""
        return {**asdict(self), "cost_usd": str(self.cost_usd)}


def summary_of(journal: Journal) -> BatchSummary:
    """Add up the journal."""
    totals = dict(journal.query(_TOTALS)[0])
    cost = Decimal(totals.pop("cost_micro_usd")) / 1_000_000
    seconds = [float(row[0]) for row in journal.query(_SECONDS)]
    durations = {f"p{share}": percentile(seconds, share) if seconds else None for share in (50, 95)}
    return BatchSummary(
        batch=journal.meta()["batch"],
        **totals,
        cost_usd=cost,
        duration_seconds={**durations, "max": seconds[-1] if seconds else None},
        error_kinds=tuple(ErrorKind(*row) for row in journal.query(_KINDS, _MOST_KINDS)),
    )
