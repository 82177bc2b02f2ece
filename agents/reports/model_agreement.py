"""How far the discrete-event model is from the live run, so that a reader knows what its plans are worth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agents.experiments.model.validation import Comparison
from agents.reports.measures import number
from agents.reports.setting import Setting
from agents.reports.tables import Cell, Column, Table

_NAMES = {
    "throughput_per_second": "sessions ended well, per s",
    "latency_p50_seconds": "latency p50, s",
    "latency_p95_seconds": "latency p95, s",
    "first_text_p50_seconds": "first text p50, s",
    "first_text_p95_seconds": "first text p95, s",
    "gpu_busy_share": "GPUs busy, share",
}


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """One figure at one load, measured and modelled, as it is printed."""

    where: str
    figure: str
    measured: str
    modelled: str
    error: str
    """Of the model, as a share of what was measured."""
    remark: str


def model_agreement_data(comparisons: Iterable[Comparison]) -> list[AgreementRow]:
    """Return a row for each figure of each load that the model was held against, its distribution's distance last."""
    rows: list[AgreementRow] = []
    for each in comparisons:
        where = f"{each.topology}, {Setting(each.arrivals, each.load).text}"
        remark = "calibrated by these sessions" if each.learnt_from else ""
        rows += [
            AgreementRow(
                where,
                _NAMES[figure.metric],
                number(figure.measured),
                number(figure.modelled),
                _error(figure.relative_error),
                remark,
            )
            for figure in each.figures
        ]
        if each.latency_distance is not None:
            distance = f"{each.latency_distance:.2f}"
            rows.append(AgreementRow(where, "latency, Kolmogorov-Smirnov distance", "–", "–", distance, remark))
    return rows


def _error(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:+.1f} %".replace("-", "−")


def model_agreement_table(rows: Iterable[AgreementRow]) -> Table:
    """Lay *rows* out."""
    columns = [
        Column("what"),
        Column("figure"),
        Column("measured", number=True),
        Column("modelled", number=True),
        Column("error", number=True),
        Column("remark"),
    ]
    caption = (
        "The same arrivals, played on a discrete-event model of each topology. The Kolmogorov-Smirnov distance is the "
        "most by which the shares of sessions below any latency differ: 0 for equal distributions, 1 at most."
    )
    cells = [
        [
            *(Cell(text) for text in (each.where, each.figure, each.measured, each.modelled, each.error)),
            Cell(each.remark, "quiet"),
        ]
        for each in rows
    ]
    return Table("model-agreement", "How far the model is from the run", caption, columns, cells)
