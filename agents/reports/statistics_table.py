"""What was compared with what, and what the tests say: one row per measure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agents.experiments.analysis.analysis import Analysis, CellMetrics
from agents.experiments.analysis.comparisons import Comparison
from agents.reports.findings import metrics_at
from agents.reports.measures import counted, measure_name, measured, p_value, with_interval
from agents.reports.setting import Pair, Setting
from agents.reports.tables import Cell, Column, Table, Tone
from agents.statistics.estimates import Estimate
from agents.statistics.verdicts import ALPHA, Verdict

_TONES: dict[Verdict, Tone] = {Verdict.BETTER: "good", Verdict.WORSE: "bad"}
_QUANTILES = ("p50", "p95", "p99")


@dataclass(frozen=True, slots=True)
class StatisticsRow:
    """One measure of the compared topology against the baseline, as it is printed."""

    where: str
    """Topology, workload, arrivals and load; empty where the table says so."""
    measure: str
    baseline: str
    compared: str
    ratio: str
    """Compared over baseline, with its 95 % interval."""
    p: str
    """Corrected by Holm's method."""
    effect: str
    verdict: str
    tone: Tone = "quiet"


def statistics_data(analysis: Analysis, pair: Pair, setting: Setting) -> list[StatisticsRow]:
    """Return the rows of *pair* at *setting*, all workloads together, and those over all of its loads."""
    return [
        row
        for each in analysis.comparisons
        if (each.topology, each.workload, each.arrivals) == (pair.compared, analysis.all_workloads, setting.arrivals)
        and each.load in (None, setting.load)
        for row in [_row(each, ""), *_quantiles(analysis, pair, setting, each)]
    ]


def all_statistics_data(analysis: Analysis) -> list[StatisticsRow]:
    """Return a row for every comparison of the analysis."""
    return [_row(each, _where(each)) for each in analysis.comparisons]


def _where(each: Comparison) -> str:
    load = "any load" if each.load is None else f"load {each.load:g}"
    return f"{each.topology}, {each.workload}, {each.arrivals}, {load}"


def _row(each: Comparison, where: str) -> StatisticsRow:
    paired = each.paired
    effect = "" if paired.cohens_dz is None else f"d_z {paired.cohens_dz:.2g}"
    if paired.rank_biserial is not None:
        effect += f"{', ' if effect else ''}r {paired.rank_biserial:.2f}"
    return StatisticsRow(
        where,
        f"{measure_name(each.measure)} ({counted(paired.pairs, each.pairs_of)})",
        measured(each.measure, paired.baseline_mean),
        measured(each.measure, paired.candidate_mean),
        with_interval(paired.ratio),
        p_value(each.p_holm),
        effect.replace("-", "−") or "–",
        _in_words(each),
        _TONES.get(each.verdict, "quiet"),
    )


def _in_words(each: Comparison) -> str:
    """The verdict, and what the signed-rank test says of it where it has pairs enough to say anything."""
    verdict = str(each.verdict)
    if each.verdict == Verdict.TOO_FEW or each.confirmed is None:
        return verdict
    if each.verdict != Verdict.NO_DIFFERENCE:
        return f"{verdict}, also by ranks" if each.confirmed else f"{verdict}, not by ranks"
    if each.confirmed:
        return f"{verdict}; by ranks there is one"
    # What ranks find the other way than the mean is not confirmed, but a reader who sees no difference is to know.
    if each.wilcoxon_p_holm is not None and each.wilcoxon_p_holm < ALPHA:
        return f"{verdict}; by ranks there is one, not the mean's way"
    return verdict


def _quantiles(analysis: Analysis, pair: Pair, setting: Setting, each: Comparison) -> Iterator[StatisticsRow]:
    """The quantiles of what is compared request by request: they have an interval of their ratio, and no test."""
    below, above = (metrics_at(analysis, name, setting) for name in pair)
    for name in _QUANTILES:
        ratio = each.ratios.get(name)
        if ratio is not None and each.measure in ("latency_seconds", "ttft_seconds") and below and above:
            yield StatisticsRow(
                "",
                measure_name(each.measure).replace("mean", name),
                measured(each.measure, _quantile(below, each.measure, name)),
                measured(each.measure, _quantile(above, each.measure, name)),
                with_interval(ratio),
                "–",
                "–",
                _by_interval(ratio),
            )


def _quantile(metrics: CellMetrics, measure: str, name: str) -> float | None:
    times = metrics.latency_seconds if measure == "latency_seconds" else metrics.ttft_seconds
    if times is None:
        return None
    return {"p50": times.p50, "p95": times.p95, "p99": times.p99}[name].value


def _by_interval(ratio: Estimate) -> str:
    if ratio.low is None or ratio.high is None:
        return str(Verdict.TOO_FEW)
    if ratio.low <= 1 <= ratio.high:
        return str(Verdict.NO_DIFFERENCE)
    # Not "better": such intervals are of many quantiles, and nothing corrects them for their number.
    return f"{Verdict.LOWER if ratio.high < 1 else Verdict.HIGHER}, by its own interval"


def statistics_table(rows: Iterable[StatisticsRow], key: str, title: str, caption: str, pair: Pair | None) -> Table:
    """Lay *rows* out; *pair* names the columns where all rows are of one."""
    listed = list(rows)
    placed = any(row.where for row in listed)
    baseline, compared = pair or ("baseline", "compared")
    columns = [
        *([Column("what")] if placed else []),
        Column("measure"),
        Column(baseline, number=True),
        Column(compared, number=True),
        Column("ratio (95 % interval)", number=True),
        Column("p, corrected", number=True),
        Column("effect size", number=True),
        Column("verdict"),
    ]
    return Table(key, title, caption, columns, [_cells(row, placed) for row in listed], folded=placed)


def _cells(row: StatisticsRow, placed: bool) -> list[Cell]:
    texts = (row.measure, row.baseline, row.compared, row.ratio, row.p, row.effect)
    first = [Cell(row.where)] if placed else []
    return [*first, *(Cell(text) for text in texts), Cell(row.verdict, row.tone)]
