"""What must hold of side effects and of files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.api_checks import edge_outages
from tests.chaos.log_checks import answers, name_of, of_type, text_of
from tests.chaos.record import Action, Json, Run, Violation, Visit, instant
from tests.chaos.schedule import LEASE_SECONDS, NODE_DEATHS
from tests.chaos.script import FILE, Script

_EFFECT = re.compile(r"\be (sesn_\w+/[\w~]+)")
HOST_DEATHS = NODE_DEATHS | {"kill sandbox host", "stop sandbox host"}
HAND_DEATHS = NODE_DEATHS | {"kill hand", "stop hand"}
WORKER_DEATHS = frozenset({"kill worker"})
_AFTER_SECONDS = 20.0
"""How long after a host's death a call may still fail for want of it."""


def effects_of(call: Json) -> list[str]:
    """The effect ids of a bash call, or of one of the hand."""
    if call["type"] == "agent.mcp_tool_use":
        return str(call["input"]["effects"]).split()
    return _EFFECT.findall(str(call["input"].get("command", ""))) if call["name"] == "bash" else []


def calls_with_effects(visit: Visit) -> Iterator[tuple[Json, Json]]:
    """Yield the calls that can have effects, with their results."""
    results = answers(visit)
    for call in of_type(visit.final, "agent.tool_use", "agent.mcp_tool_use"):
        if call["id"] in results and effects_of(call):
            yield call, results[call["id"]]


def felt_at_least_once(run: Run, scripts: Mapping[str, Script]) -> Iterator[Violation]:
    """Every effect of the script happened, by its first call or by one that made up for it."""
    felt = {effect.partition("~")[0] for effect, _ in run.effects}
    for visit in run.visits:
        for label in scripts[visit.kind].bases if visit.outcome == "done" else ():
            if f"{visit.session_id}/{label}" not in felt:
                yield Violation("effects happen", name_of(visit), f"{label} never happened")


def results_are_true(run: Run) -> Iterator[Violation]:
    """A call that succeeded had each of its effects."""
    counted = Counter(effect for effect, _ in run.effects)
    for visit in run.visits:
        for call, result in calls_with_effects(visit):
            for effect in () if result.get("is_error") else effects_of(call):
                if not counted[effect]:
                    yield Violation(
                        "effects happen", name_of(visit), f"{effect} did not happen, though its call succeeded"
                    )


def felt_at_most_once(run: Run) -> Iterator[Violation]:
    """No call had its effect twice: a command is never run again by itself, not even when its host died."""
    for effect, count in Counter(effect for effect, _ in run.effects).items():
        if count > 1:
            yield Violation("at most once", effect, f"happened {count} times")


def refused_never_happen(run: Run) -> Iterator[Violation]:
    """A call that the client refused had no effect."""
    felt = {effect for effect, _ in run.effects}
    for visit in run.visits:
        denied = set(visit.denied)
        for call in of_type(visit.final, "agent.tool_use"):
            if call["id"] in denied and (done := felt & set(effects_of(call))):
                yield Violation("refused", name_of(visit), f"{sorted(done)} happened, though it was refused")


def repeated_with_reason(run: Run) -> Iterator[Violation]:
    """A call failed only if what runs it died in mid-call or shortly before (or the client refused or stopped it).

    A worker that could not reach the server for so long that its lease may be over stops its calls, as dead as one.
    """
    lapses = [out for out in edge_outages(run) if out.until - out.begin >= LEASE_SECONDS / 2]
    deadly = {"served": ("hand", HAND_DEATHS), "elsewhere": ("worker", WORKER_DEATHS)}
    for visit in run.visits:
        where, kinds = deadly.get(visit.kind, ("host", HOST_DEATHS))
        deaths = [action for action in run.actions if action.kind in kinds and not action.skipped]
        stops = [instant(event) or 0.0 for event in of_type(visit.final, "user.interrupt")]
        for call, result in calls_with_effects(visit):
            begun, ended = instant(call) or 0.0, instant(result) or 0.0
            stopped = any(begun <= stop <= ended for stop in stops)
            if not result.get("is_error") or call["id"] in visit.denied or stopped:
                continue
            lapsed = where == "worker" and any(
                out.begin <= ended and out.until + LEASE_SECONDS >= begun for out in lapses
            )
            if not lapsed and not one_between(deaths, begun - _AFTER_SECONDS, ended):
                what = f"{call['id']} failed and no {where} had died: {text_of(result)[:160]!r}"
                yield Violation("failed calls", name_of(visit), what)


def one_between(actions: Sequence[Action], begin: float, end: float) -> bool:
    return any((action.until or action.at) >= begin and action.at <= end for action in actions)


def files_survive(run: Run, scripts: Mapping[str, Script]) -> Iterator[Violation]:
    """The file of effects holds what every successful call wrote into it, once; files read as they were written."""
    for visit in run.visits:
        good = (call for call, result in calls_with_effects(visit) if not result.get("is_error"))
        written = [effect for call in good if call["name"] == "bash" for effect in effects_of(call)]
        shown = _last_closing(visit)
        if shown is not None:
            lines = Counter(shown.split())
            for effect in written:
                if lines[effect] != 1:
                    what = f"{effect} is {lines[effect]} times in the file, though its call succeeded"
                    yield Violation("files", name_of(visit), what)
        yield from _read_back(visit, scripts[visit.kind].writes)


def _last_closing(visit: Visit) -> str | None:
    """The content of the file of effects as the last successful closing call showed it."""
    shown: str | None = None
    results = answers(visit)
    for call in of_type(visit.final, "agent.tool_use"):
        result = results.get(call["id"])
        if f"&& cat {FILE}" in str(call["input"].get("command", "")) and result and not result.get("is_error"):
            shown = text_of(result)
    return shown


def _read_back(visit: Visit, writes: Mapping[str, str]) -> Iterator[Violation]:
    results = answers(visit)
    good: set[str] = set()
    for call in of_type(visit.final, "agent.tool_use"):
        path, result = call["input"].get("file_path"), results.get(call["id"])
        if result is None or path is None:
            continue
        if call["name"] == "write" and not result.get("is_error"):
            good.add(path)
        elif call["name"] == "write":
            yield Violation(
                "files", name_of(visit), f"writing {path} failed, which can be repeated: {text_of(result)[:160]!r}"
            )
        elif call["name"] == "read" and path in good and writes[path].split("\n")[0] not in text_of(result):
            yield Violation("files", name_of(visit), f"{path} was written and read as {text_of(result)[:120]!r}")
