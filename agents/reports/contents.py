"""The sections of a report in their order: what the run has data for, and a sentence for what it has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.economics.roi.evaluation import Evaluation
from agents.experiments.analysis.analysis import Analysis
from agents.reports.ablation import ablation_data, ablation_figure, ablation_table
from agents.reports.checks import Outcome, checks_table
from agents.reports.conditions import conditions
from agents.reports.cost_waterfall import cost_waterfall_data, cost_waterfall_figure
from agents.reports.drawing import Figure, Missing, Palette
from agents.reports.goals import goals_data
from agents.reports.latency_over_time import latency_over_time_data, latency_over_time_figure
from agents.reports.milestones import milestones_data
from agents.reports.model_agreement import model_agreement_data, model_agreement_table
from agents.reports.money import costs_table, return_facts, scale_figure, tornado_data, tornado_figure
from agents.reports.report import Report
from agents.reports.request_gantt import request_gantt_data, request_gantt_figure
from agents.reports.setting import DECOUPLED, Pair, Setting, pair_of, ramp_of, settings_of
from agents.reports.statistics_table import all_statistics_data, statistics_data, statistics_table
from agents.reports.tables import Code, Facts, Table
from agents.reports.throughput_timeline import throughput_timeline_data, throughput_timeline_figure
from agents.reports.utilisation_timeline import utilisation_timeline_data, utilisation_timeline_figure
from agents.reports.waiting_parts import waiting_parts_data, waiting_parts_figure

Part = Figure | Missing | Table | Facts | Code

_NO_PARTS = "the trace has neither model requests nor tool calls"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what is below it."""

    key: str
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class _View:
    """What the figures show of a report."""

    report: Report
    pair: Pair
    ramp: Sequence[Setting]
    setting: Setting
    """The load at which the two are held against each other."""
    palette: Palette


def contents(report: Report) -> list[Section]:
    """Return all sections of *report*."""
    run = Section("conditions", "How it was run", conditions(report.plan, report.machine, report.sample.share))
    pair = pair_of(report.plan)
    if pair is None:
        return [_nothing("the plan has one topology, and nothing to hold against it"), run]
    ramp = ramp_of(settings_of(report.sample.rows, pair))
    if not ramp:
        return [_nothing(f"the trace has no load that both {pair.baseline} and {pair.compared} had"), run]
    others = [each.name for each in report.plan.topologies if each.name not in pair]
    view = _View(report, pair, ramp, _shown(report.analysis, pair, ramp), Palette.of(*pair, others))
    return [
        Section("results", "Results", _mechanisms(view, others) if pair.baseline == DECOUPLED else _results(view)),
        Section("load", "Under load", [_throughput(view), _latency(view), _utilisation(view)]),
        Section("sessions", "Inside a session", [_waiting(view), *_gantts(view)]),
        Section("money", "What a token costs", [_waterfall(view)]),
        Section("mechanisms", "Mechanisms", [_ablation(view, others)]),
        Section("statistics", "Statistics", _statistics(view)),
        Section("model", "The model against the run", [_model(report)]),
        worth(report.money),
        run,
    ]


def worth(money: Evaluation | None) -> Section:
    """Return what a scenario comes to, where there is one."""
    parts: list[Part] = [Missing("Return", "no scenario was given; `hecaton roi` works one out")]
    if money is not None:
        parts = [costs_table(money), return_facts(money)]
        if bars := tornado_data(money):
            parts.append(tornado_figure(bars))
        parts.append(scale_figure(money))
    return Section("return", "What the change is worth", parts)


def _nothing(reason: str) -> Section:
    return Section("results", "Results", [Missing("Figures", reason)])


def _shown(analysis: Analysis, pair: Pair, ramp: Sequence[Setting]) -> Setting:
    """The highest load at which the compared topology kept its goals; the highest of all where it kept none. Beyond it
    every platform has a queue without end, and latencies say how long the round was."""
    kept = [
        Setting(each.arrivals, each.load)
        for each in analysis.at_goal
        if (each.topology, each.workload) == (pair.compared, analysis.all_workloads) and each.load is not None
    ]
    return max((each for each in ramp if each in kept), default=ramp[-1])


def _results(view: _View) -> list[Part]:
    analysis, pair, setting = view.report.analysis, view.pair, view.setting
    parts: list[Part] = []
    if goals := goals_data(analysis, pair, setting, faults=view.report.plan.faults is not None):
        caption = (
            f"Ratio of {pair.compared} to {pair.baseline} with its 95 % interval. Met: all of the interval meets the "
            "goal; missed: none of it does; open: some does."
        )
        words: Mapping[Outcome, str] = {"pass": "met", "fail": "missed", "open": "open"}
        parts.append(checks_table(goals, "goals", "Goals of the proof", caption, pair, words))
    else:
        parts.append(Missing("Goals of the proof", f"nothing of {pair.compared} could be compared"))
    if checks := milestones_data(analysis, pair, setting):
        caption = f"At {setting.text}. The outcome is that of {pair.compared} in this run, on this machine."
        words = {"pass": "pass", "fail": "fail", "open": "not shown"}
        parts.append(checks_table(checks, "milestones", "Milestones", caption, pair, words))
    else:
        parts.append(Missing("Milestones", f"at {setting.text} no session was due after the warm-up"))
    return parts


def _mechanisms(view: _View, others: Sequence[str]) -> list[Part]:
    """Where all mechanisms are the baseline, others are held against it; the proof's goals are of another question."""
    bars = ablation_data(view.report.analysis, [*view.pair, *others], view.setting)
    return [ablation_table(view.report.analysis, bars, view.pair, view.setting)]


def _throughput(view: _View) -> Part:
    sample, seconds = view.report.sample, view.report.plan.seconds
    timeline = throughput_timeline_data(sample.rows, view.pair, view.ramp, seconds, sample.share)
    return throughput_timeline_figure(timeline, view.palette)


def _latency(view: _View) -> Part:
    plan, rows = view.report.plan, view.report.sample.rows
    maps = latency_over_time_data(rows, view.pair, view.setting, plan.seconds, plan.patience_seconds)
    if not maps:
        return Missing("Latency over time", f"at {view.setting.text} every session ended in an error")
    return latency_over_time_figure(maps, view.setting, plan.warm_up_seconds)


def _utilisation(view: _View) -> Part:
    plan, sample = view.report.plan, view.report.sample
    places = plan.gpus * plan.brain.max_batch
    lines = utilisation_timeline_data(sample.rows, view.pair, view.setting, plan.seconds, places, sample.share)
    if not lines:
        return Missing("The brain and the hands at work", _NO_PARTS)
    return utilisation_timeline_figure(lines, view.setting, view.palette)


def _waiting(view: _View) -> Part:
    matrices = waiting_parts_data(view.report.sample.rows, view.pair, view.setting)
    if not matrices:
        return Missing("Which part of a session waits for which", _NO_PARTS)
    return waiting_parts_figure(matrices, view.setting)


def _gantts(view: _View) -> list[Part]:
    charts = request_gantt_data(view.report.sample.rows, view.pair, view.setting)
    if not charts:
        reason = f"at {view.setting.text} no request ended well in both topologies with its parts in the trace"
        return [Missing("One request, part by part", reason)]
    return [request_gantt_figure(each, view.setting) for each in charts]


def _waterfall(view: _View) -> Part:
    prices = view.report.plan.prices
    costs = cost_waterfall_data(view.report.analysis, view.report.rounds, prices, view.pair, view.setting)
    if not costs:
        reason = f"at {view.setting.text} nothing was kept of what GPUs and hands did, or no token was read"
        return Missing("Cost per token", reason)
    return cost_waterfall_figure(costs, prices, view.setting, view.palette)


def _ablation(view: _View, others: Sequence[str]) -> Part:
    title = "What each mechanism earns"
    if not others:
        return Missing(title, "the plan leaves no mechanism out")
    bars = ablation_data(view.report.analysis, [*view.pair, *others], view.setting)
    if len(bars) <= len(view.pair):
        return Missing(title, f"no topology without a mechanism had {view.setting.text}")
    return ablation_figure(bars, view.pair, view.setting, view.palette)


def _model(report: Report) -> Part:
    if not report.validation:
        return Missing("Discrete-event model", "it was not held against this run")
    return model_agreement_table(model_agreement_data(report.validation))


def _statistics(view: _View) -> list[Part]:
    analysis = view.report.analysis
    if not analysis.comparisons:
        return [Missing("Statistics", f"nothing was paired with {view.pair.baseline}")]
    caption = (
        f"At {view.setting.text}, all workloads together. Pairs are the same request, or the same round, in both "
        "topologies. p is the paired t-test's, corrected for the number of comparisons by Holm's method; what is said "
        "of ranks is the Wilcoxon signed-rank test's, corrected likewise. Effect sizes are Cohen's d_z and the "
        "rank-biserial correlation r of the signed ranks, −1 where every pair is lower. "
        "Quantiles have bootstrap intervals, which are not corrected."
    )
    rows = statistics_data(analysis, view.pair, view.setting)
    shown = statistics_table(rows, "statistics-table", "Statistics", caption, view.pair)
    everything = statistics_table(
        all_statistics_data(analysis),
        "all-statistics",
        "Every comparison",
        "All loads, workloads and topologies.",
        None,
    )
    return [shown, everything]
