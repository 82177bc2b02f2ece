"""What a run is told by: lines for a terminal, a table for docs/reliability.md, everything as JSON."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.chaos.api_checks import edge_outages, only_a_dead_edge_fails
from tests.chaos.checks import NAMES
from tests.chaos.memory import MEBIBYTE, slopes
from tests.chaos.record import Run
from tests.chaos.resource_plan import LOG
from tests.chaos.run import Course, Result
from tests.chaos.schedule import NODE_DEATHS, ROLLS
from tests.chaos.takeover import percentile, takeovers

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_SHOWN = 12
"""Violations of one check that are shown; all of them are in the JSON."""


def counted(run: Run) -> Counter[str]:
    """How often each kind of action was carried out."""
    return Counter(action.kind for action in run.actions if not action.skipped and action.kind not in ROLLS)


def _rolls(run: Run) -> str:
    """The upgrades, and which of them came to their end in spite of everything else."""
    rolls = [action for action in run.actions if action.kind in ROLLS and not action.skipped]
    return ", ".join(f"{action.target} {'done' if action.status == 0 else 'in part'}" for action in rolls) or "none"


def times(seconds: Sequence[float]) -> str:
    """p50, p95 and maximum, and how many there were."""
    if not seconds:
        return "none"
    shares = " / ".join(f"{percentile(seconds, share):.1f}" for share in (0.5, 0.95, 1.0))
    return f"{shares} s ({len(seconds)})"


def _takeovers(run: Run) -> dict[str, str]:
    """p50 / p95 / max of everything that moved, by what hit its owner."""
    groups = {
        "harness killed": ("kill harness",),
        "harness stopped": ("stop harness",),
        "its node gone": tuple(sorted(NODE_DEATHS)),
    }
    moved = list(takeovers(run))
    rows: dict[str, str] = {}
    for name, kinds in groups.items():
        partitions = [seconds for action in run.actions if action.kind in kinds for seconds in action.moved]
        sessions = [each for each in moved if each.kind in kinds]
        rows[f"{name}: its partitions owned again (p50 / p95 / max)"] = times(partitions)
        rows[f"{name}: its sessions move again"] = times([each.seconds for each in sessions])
        rows[f"{name}: the same, nothing else hit meanwhile"] = times([each.seconds for each in sessions if each.alone])
    return rows


def figures(result: Result) -> dict[str, str]:
    """The figures of a run, as they are shown."""
    run = result.run
    absorbed = ", ".join(f"{count} x {name}" for name, count in sorted(run.absorbed.items())) or "none"
    kills = counted(run)
    return {
        "store": result.options.store,
        "seed": str(result.options.seed),
        "sessions x rounds": f"{len(run.visits)} x {result.options.rounds}",
        "came to their end": str(sum(visit.outcome == "done" for visit in run.visits)),
        "kills": f"{kills.total()}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kills.items())),
        "upgrades meanwhile": _rolls(run),
        "violations": str(len(result.violations)),
        **_takeovers(run),
        "answers that the SDK retried": absorbed,
        "API errors past the SDK's retries, with the proxy or all gateways dead": str(
            len(run.errors) - len(list(only_a_dead_edge_fails(run)))
        ),
        "nobody answered at the address: median / longest (times)": _outages(run),
        "effects felt": str(len(run.effects)),
        "left beside the logs": _left(run),
        "memory, MiB before -> after (median process)": _memory(result),
        **_slopes(result),
        "seconds of load": f"{result.seconds:.0f}",
        "revision": result.revision,
    }


def _left(run: Run) -> str:
    """What was there of everything that sessions keep beside their logs, and that is told of them."""
    outputs = sum(len(visit.outputs) for visit in run.visits)
    lines = sum(len(visit.memories.get(LOG, "").splitlines()) for visit in run.visits)
    threads = sum(len(visit.threads) for visit in run.visits)
    outcomes = sum(len(visit.evaluations) for visit in run.visits)
    return (
        f"{outputs} outputs, {lines} lines of memory, {threads} threads, {outcomes} outcomes, "
        f"{len(run.fires)} runs of a deployment, {len(run.posts)} messages to a webhook"
    )


def _memory(result: Result) -> str:
    parts = [
        f"{kind} {statistics.median(result.before[kind]) / MEBIBYTE:.0f} -> {statistics.median(values) / MEBIBYTE:.0f}"
        for kind, values in sorted(result.after.items())
        if kind in result.before
    ]
    return ", ".join(parts)


def _outages(run: Run) -> str:
    lasting = [outage.until - outage.begin for outage in edge_outages(run)]
    return f"{percentile(lasting, 0.5):.1f} / {max(lasting):.1f} s ({len(lasting)})" if lasting else "never"


def _slopes(result: Result) -> dict[str, str]:
    """The slope of each part's memory in a soak."""
    return {
        f"MiB per hour: {slope.part}": f"{slope.per_hour:+.1f} ({slope.low:+.1f} to {slope.high:+.1f}), "
        f"from {slope.start:.0f} MiB"
        for slope in slopes(Course.settled_samples(result))
    }


def lines(result: Result) -> list[str]:
    """The result for a terminal."""
    told = ["", *(f"{name}: {value}" for name, value in figures(result).items())]
    by_check = Counter(violation.check for violation in result.violations)
    for check, count in by_check.items():
        told.append(f"VIOLATED {check}: {count}")
        found = [violation for violation in result.violations if violation.check == check]
        told += [f"    {violation.where}: {violation.what}" for violation in found[:_SHOWN]]
    errors = Counter(error.error[:120] for error in result.run.errors)
    told += [f"API error x {count}: {error}" for error, count in errors.most_common(_SHOWN)]
    return told


def detail(result: Result) -> dict[str, Any]:
    """Everything, for a machine."""
    return {
        "options": result.options.facts(),
        "revision": result.revision,
        "seconds": result.seconds,
        "figures": figures(result),
        "violations": [asdict(violation) for violation in result.violations],
        "takeovers": [asdict(each) for each in takeovers(result.run)],
        "before": result.before,
        "after": result.after,
        "samples": result.samples,
        "run": result.run.to_json(),
    }


def table(results: Sequence[Result], command: str) -> str:
    """The results as a Markdown table, a column each."""
    columns = [figures(result) for result in results]
    rows = [f"`{command}`, {datetime.now(UTC):%Y-%m-%d}", ""]
    rows += ["| | " + " | ".join(column["store"] for column in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    rows += [f"| {name} | " + " | ".join(column[name] for column in columns) + " |" for name in columns[0]]
    checked = [Counter(violation.check for violation in result.violations) for result in results]
    rows += [f"| violated: {name} | " + " | ".join(str(found[name]) for found in checked) + " |" for name in NAMES]
    return "\n".join(rows) + "\n"


def publish(results: Sequence[Result], arguments: Sequence[str], section: str = "chaos") -> None:
    """Put the results' table in its place on the page."""
    command = " ".join(["python -m tests.chaos", *(word for word in arguments if word != "--publish")])
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    page = PAGE.read_text(encoding="utf-8")
    body = f"{begin}\n{table(results, command)}{end}"
    changed, count = re.subn(f"{begin}.*?{end}", lambda _: body, page, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{PAGE} has no place for {section!r}")
    PAGE.write_text(changed, encoding="utf-8")
