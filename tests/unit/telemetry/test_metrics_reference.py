"""docs/metrics.md says what the metrics are (ours)."""

from __future__ import annotations

from pathlib import Path

from agents.telemetry.catalogue import CATALOGUE
from agents.telemetry.metrics_reference import main, reference

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_the_page_in_the_repository_is_the_one_that_the_catalogue_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: make docs"


def test_every_metric_has_a_row() -> None:
    page = reference()
    assert [metric.name for metric in CATALOGUE if f"| `{metric.name}` | {metric.kind} |" not in page] == []


def test_labels_and_their_bounds_are_told() -> None:
    page = reference()
    assert "`outcome` (ok, error, cancelled)" in page
    assert "`route` (at most 200)" in page


def test_the_page_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    main([str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == reference()
