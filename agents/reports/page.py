"""The report as one HTML file that needs nothing else: no network, no folder of parts.

The page forbids itself every fetch (Content-Security-Policy), so that it stays what it was when it was written. Text is
escaped by the template, the figures' JSON too: a script element ends wherever ``</script`` stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from agents.economics.roi.evaluation import Evaluation
from agents.reports.contents import Section, contents, worth
from agents.reports.drawing import Figure, figure_json, plotly_js, themes
from agents.reports.measures import counted
from agents.reports.report import Report

_PARTS = Path(__file__).parent


def write_report(path: Path, report: Report) -> list[Section]:
    """Write *report* to *path*; return its sections. Raises OSError; InvalidRequest when Plotly is not installed."""
    sections = contents(report)
    _write(path, report.title, _lead(report), sections)
    return sections


def write_worth(path: Path, money: Evaluation) -> None:
    """Write what a scenario comes to to *path*. Raises as :func:`write_report` does."""
    _write(path, f"Scenario {money.scenario.name}", money.scenario.source, [worth(money)])


def _write(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    page = _template().render(
        title=title,
        lead=lead,
        sections=sections,
        css=_text("report.css"),
        script=_text("report.js"),
        plotly=plotly_js(),
        figures=_figures(sections),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _figures(sections: Sequence[Section]) -> dict[str, Any]:
    figures = [part for section in sections for part in section.parts if isinstance(part, Figure)]
    return {
        "themes": themes(),
        "figures": [{"key": each.key, "title": each.title, **figure_json(each.drawing)} for each in figures],
    }


def _lead(report: Report) -> str:
    plan = report.plan
    others = [each.name for each in plan.topologies if each.name != plan.baseline]
    against = f"{', '.join(others)} held against {plan.baseline}" if others else plan.baseline
    return (
        f"{against}, with the same requests, arrivals, brain and {counted(plan.gpus, 'GPUs')}, in "
        f"{counted(plan.rounds, 'rounds')} of {plan.seconds:g} s for each load."
    )


def _text(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment.from_string(_text("report.html"))
