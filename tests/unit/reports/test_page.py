"""A browser without a network draws the whole page (bug class: a figure that is empty, a script error nobody sees)."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from agents.economics.roi.evaluation import evaluate
from agents.economics.roi.inputs import read_scenario
from agents.experiments.analysis.analysis import analyse
from agents.experiments.model.validation import Agreement, Comparison
from agents.reports.contents import Section, contents
from agents.reports.drawing import Drawing, Figure, Missing, figure_json
from agents.reports.page import write_report
from agents.reports.pictures import BrowserFailed, drawn_page, write_pictures
from agents.reports.report import Report
from agents.reports.sample import Sample
from agents.statistics import estimates
from tests.unit.reports.synthetic import PLAN, synthetic_figures, synthetic_rows

FIGURES = {
    "throughput-timeline": "scatter",
    "latency-over-time": "heatmap",
    "utilisation-timeline": "scatter",
    "waiting-parts": "heatmap",
    "gantt-support": "bar",
    "cost-waterfall": "waterfall",
    "ablation": "bar",
    "tornado": "bar",
    "scale-grid": "heatmap",
}
"""Keys of the figures that a whole report has, in the page's order, and what they are drawn with."""
TOOL = "analytics.</script><script>document.title = 0</script>"
"""A hand may call its tools what it likes."""
POINTS = {"scatter": "<path[^>]*js-line", "heatmap": "<image", "bar": 'class="point"', "waterfall": 'class="point"'}


@pytest.fixture(scope="module")
def report() -> Report:
    rows = [replace(row, name=TOOL) if row.name == "analytics.query" else row for row in synthetic_rows()]
    figures = synthetic_figures(rows)
    machine = {"cpu": "Example <CPU>", "memory_bytes": 2**34, "command": ["hecaton", "experiment", "run", "a b.yaml"]}
    title = "An experiment & its </script> end"
    with pytest.MonkeyPatch.context() as patch:
        # Its intervals are not looked at here, and a bootstrap of thousands takes its time.
        patch.setattr(estimates, "_RESAMPLES", 20)
        analysis = analyse(PLAN, rows, figures)
    agreement = (Agreement("latency_p95_seconds", 2.0, 1.5),)
    validation = [Comparison("decoupled", "poisson", 1.5, 3, 90, False, agreement, 0.1)]
    scenario = read_scenario("round")
    money = evaluate(scenario.model_copy(update={"risk": scenario.risk.model_copy(update={"draws": 100})}))
    return Report(title, PLAN, Sample(rows), analysis, figures, machine, validation, money)


@pytest.fixture(scope="module")
def page(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    write_report(path, report)
    return path


@pytest.fixture(scope="module")
def drawn(page: Path) -> str:
    """The page's document once its browser has drawn it, pictures included."""
    return drawn_page(page, "#pictures")


def _of(report: Report) -> dict[str, Section]:
    return {section.key: section for section in contents(report)}


def _missing(section: Section) -> list[Missing]:
    return [part for part in section.parts if isinstance(part, Missing)]


def test_every_figure_is_drawn_with_its_points(drawn: str) -> None:
    assert f'data-drawn="{len(FIGURES)}"' in drawn
    figures = re.findall(r'<figure id="([\w-]+)".*?</figure>', drawn, re.DOTALL)
    assert figures == list(FIGURES)
    for text in re.finditer(r'<figure id="([\w-]+)".*?</figure>', drawn, re.DOTALL):
        assert '<svg class="main-svg"' in text[0]
        assert re.search(POINTS[FIGURES[text[1]]], text[0]), text[1]


def test_nothing_is_fetched_and_nothing_may_be(page: Path, drawn: str) -> None:
    assert 'data-fetched="0"' in drawn
    source = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in source
    assert re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="(?!data:)[^"]*"', source) == []
    assert source.count("<script>") == 2


def test_no_error_is_recorded_on_the_page(drawn: str) -> None:
    assert "data-errors" not in drawn[: drawn.index(">", drawn.index("<html"))]


def test_a_page_with_an_error_is_not_taken_for_drawn(page: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    source = page.read_text(encoding="utf-8")
    start = source.index("<script>", source.index("<main>"))
    end = source.index("</script>", start)
    broken.write_text(source[:start] + "<script>" + source[end:], encoding="utf-8")
    with pytest.raises(BrowserFailed, match="Plotly is not defined"):
        drawn_page(broken)


def test_text_from_a_run_cannot_leave_its_place(drawn: str, page: Path) -> None:
    assert "An experiment &amp; its &lt;/script&gt; end</h1>" in drawn
    source = page.read_text(encoding="utf-8")
    assert "<CPU>" not in source
    assert TOOL not in source
    assert "document.title = 0" in source


def test_pictures_are_whole_svg_files_on_white(
    page: Path, drawn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.reports.pictures.drawn_page", lambda page, fragment: drawn)
    files = write_pictures(page, tmp_path / "pictures")
    assert [file.stem for file in files] == list(FIGURES)
    for file in files:
        root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
        assert (root.tag, root.get("width")) == ("{http://www.w3.org/2000/svg}svg", "880")
        assert "rgb(255, 255, 255)" in file.read_text(encoding="utf-8")


def test_tables_are_there_for_who_has_no_script(page: Path) -> None:
    source = html.unescape(page.read_text(encoding="utf-8"))
    for key in ("goals", "milestones", "statistics-table", "all-statistics", "model-agreement", "costs"):
        assert f'<table id="{key}">' in source
    assert "hecaton experiment run 'a b.yaml'" in source
    assert "prefill tokens per second 8000" in source


def test_every_figure_has_a_title_an_alternative_text_and_units(report: Report) -> None:
    figures = [part for section in contents(report) for part in section.parts if isinstance(part, Figure)]
    assert [figure.key for figure in figures] == list(FIGURES)
    for figure in figures:
        assert figure.title
        assert figure.alt.endswith(".")
        assert re.search(r"\d", figure.alt)
        assert figure.caption


def test_what_a_run_does_not_have_is_left_out_with_a_sentence(report: Report) -> None:
    nothing = replace(report.analysis, cells=(), comparisons=())
    sections = _of(replace(report, analysis=nothing, machine={}, validation=(), money=None))
    assert [part.title for part in _missing(sections["results"])] == ["Goals of the proof", "Milestones"]
    assert _missing(sections["money"])
    assert _missing(sections["mechanisms"])
    assert _missing(sections["statistics"])
    assert _missing(sections["model"])
    assert _missing(sections["return"])
    assert [part.reason for part in _missing(sections["conditions"])] == ["the run did not say where it ran"]
    assert not _missing(sections["load"])


def test_a_trace_without_parts_has_no_figures_of_them(report: Report) -> None:
    rows = [row for row in report.sample.rows if row.kind == "session"]
    sections = _of(replace(report, sample=Sample(rows)))
    assert len(_missing(sections["sessions"])) == 2
    assert [part.title for part in _missing(sections["load"])] == ["The brain and the hands at work"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"topologies": PLAN.topologies[:1]}, "one topology"), ({"baseline": "absent"}, "no load that both")],
)
def test_a_run_with_nothing_to_compare_says_so(report: Report, change: dict[str, object], reason: str) -> None:
    sections = contents(replace(report, plan=PLAN.model_copy(update=change)))
    assert [section.key for section in sections] == ["results", "conditions"]
    (missing,) = _missing(sections[0])
    assert reason in missing.reason


def test_the_load_shown_is_the_highest_at_which_the_goals_were_kept(report: Report) -> None:
    kept = {each.topology: each.load for each in report.analysis.at_goal if each.workload == "support"}
    (caption,) = [
        part.caption for part in _of(report)["load"].parts if isinstance(part, Figure) and "line is" in part.caption
    ]
    assert f"At {kept['decoupled']:g} sessions per second" in caption
    assert kept["monolith"] is None or kept["monolith"] < kept["decoupled"]


def test_a_property_that_plotly_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        figure_json(Drawing([{"type": "bar", "colour": "red"}], {}, 100))
