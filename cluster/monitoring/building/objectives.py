"""Error-budget rules: multi-window, multi-burn-rate, as in Google's SRE workbook (chapter 5, "Alerting on SLOs").

Each objective has the same rules, for windows from five minutes to three days; written by hand they would be thirty
lines of the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True, slots=True)
class Objective:
    """What part of *metric* may be bad: those that *bad* selects among those that *counted* selects.

    *labels* tell apart what has a budget of its own; *kinds* are the metric's other labels.
    """

    slo: str
    target: str
    """The promised share of good ones, as decimal text."""
    metric: str
    bad: str
    counted: str
    labels: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    def budget(self) -> str:
        """The share that may be bad."""
        digits = len(self.target.partition(".")[2])
        return f"{1 - float(self.target):.{digits}f}"

    def ratio(self, window: str) -> str:
        """Return the share of bad ones over *window*; 0 where there are none, nothing where nothing happened."""
        total = self._rate(self.counted, window)
        return f"(\n  {self._rate(self.bad, window)}\n  or 0 * {total}\n) / (\n  {total} > 0\n)"

    def _rate(self, selector: str, window: str) -> str:
        # Every gateway tells the totals of the whole platform: of several scraped, one counts.
        each, selected = ", ".join((*self.labels, *self.kinds)), f"{{{selector}}}" if selector else ""
        series = f"max by ({each}) (rate({self.metric}{selected}[{window}]))"
        return f"sum by ({self.labels[0]}) ({series})" if self.labels else f"sum({series})"


OBJECTIVES = (
    Objective("api", "0.999", "hecaton_http_requests_total", 'status=~"5.."', "", (), ("route", "method", "status")),
    Objective("turns", "0.995", "hecaton_turns_total", 'outcome="failed"', "", (), ("outcome",)),
    Objective(
        "model_requests",
        "0.99",
        "hecaton_model_requests_total",
        'outcome="error"',
        'outcome!="cancelled"',
        ("brain",),
        ("outcome",),
    ),
    # What a command in a sandbox or an application's own tool answers is no promise of the platform's.
    Objective(
        "tool_calls",
        "0.95",
        "hecaton_tool_calls_total",
        'hand!~"sandbox|custom", outcome="error"',
        'hand!~"sandbox|custom"',
        ("hand",),
        ("outcome",),
    ),
)

_FAST = (("1h", "5m", "14.4"), ("6h", "30m", "6"))
_SLOW = (("1d", "2h", "3"), ("3d", "6h", "1"))


def objective_rules() -> dict[str, Any]:
    """Return the rules file of the objectives."""
    budgets = [_record("slo:hecaton_error_budget:ratio", f"vector({each.budget})", each) for each in OBJECTIVES]
    ratios = [
        _record(f"slo:hecaton_error_ratio:rate{window}", each.ratio(window), each)
        for each in OBJECTIVES
        for window in WINDOWS
    ]
    left = {
        "record": "slo:hecaton_error_budget_remaining:ratio3d",
        "expr": "1 - slo:hecaton_error_ratio:rate3d / on (slo) group_left () slo:hecaton_error_budget:ratio",
    }
    alerts = [
        _alert(
            "HecatonErrorBudgetBurnsFast",
            _FAST,
            "2m",
            "critical",
            "{{ $labels.slo }} burns its error budget fast: {{ $value | humanizePercentage }} of it fails",
        ),
        _alert(
            "HecatonErrorBudgetBurnsSlowly",
            _SLOW,
            "15m",
            "warning",
            "{{ $labels.slo }} will not keep its objective: {{ $value | humanizePercentage }} of it fails",
        ),
    ]
    return {
        "groups": [
            {"name": "hecaton-objectives", "interval": "30s", "rules": [*budgets, *ratios, left]},
            {"name": "hecaton-error-budgets", "interval": "30s", "rules": alerts},
        ]
    }


def _record(name: str, expression: str, objective: Objective) -> dict[str, Any]:
    return {"record": name, "expr": expression, "labels": {"slo": objective.slo}}


def _alert(
    name: str, windows: tuple[tuple[str, str, str], ...], lasting: str, severity: str, summary: str
) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": "\nor\n".join(f"(\n  {_burns(long, by)}\n  and {_burns(short, by)}\n)" for long, short, by in windows),
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "runbook": f"docs/monitoring.md#{name.lower()}"},
    }


def _burns(window: str, factor: str) -> str:
    budget = f"on (slo) group_left () ({factor} * slo:hecaton_error_budget:ratio)"
    return f"slo:hecaton_error_ratio:rate{window} > {budget}"
