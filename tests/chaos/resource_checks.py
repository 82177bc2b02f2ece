"""What must hold of files, memories, outcomes, runs of a deployment and messages to a webhook."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from agents.hands.notices import MOUNTS_NOT_KEPT
from agents.memory.mounting import NOT_NOW
from tests.chaos.effect_checks import one_between
from tests.chaos.log_checks import answers, name_of, of_type, text_of
from tests.chaos.record import Json, Run, Violation, Visit, instant
from tests.chaos.resource_plan import CLONED, GIVEN, LOG, NOTE, OUTPUTS, SKILL, UPLOAD
from tests.chaos.schedule import NEEDS_SERVER
from tests.chaos.script import Script

_LEFT = re.compile(rf"echo (sesn_\w+/\w+) > {OUTPUTS}/(\w+\.txt)")
_LINE = re.compile(r"echo (sesn_\w+/\w+) >> /mnt/memory/")
_NOT_KEPT = (MOUNTS_NOT_KEPT, NOT_NOW, "Not kept in memory")
"""What a result says that acknowledges no change of a memory."""
_LOOK_SECONDS = 5.0
"""An output is looked for so soon after its call, and once more with the next."""


def _good(visit: Visit, name: str) -> Iterator[tuple[Json, Json]]:
    """Yield a tool's calls that succeeded, with their results."""
    results = answers(visit)
    for call in of_type(visit.final, "agent.tool_use"):
        result = results.get(call["id"])
        if call["name"] == name and result is not None and not result.get("is_error"):
            yield call, result


def _mounted(run: Run) -> Iterator[Visit]:
    return (visit for visit in run.visits if visit.kind == "mounted" and visit.outcome == "done")


def mounts_are_read(run: Run) -> Iterator[Violation]:
    """Whoever reads the file, the skill and the repository of a session reads all of them, at whatever host."""
    for visit in _mounted(run):
        for call, result in _good(visit, "bash"):
            if UPLOAD in str(call["input"].get("command", "")):
                for what in (GIVEN, SKILL, CLONED):
                    if what.strip() not in text_of(result):
                        said = f"{call['id']} read {text_of(result)[:160]!r}, without {what[:20]!r}"
                        yield Violation("mounts", name_of(visit), said)


def outputs_are_listed(run: Run) -> Iterator[Violation]:
    """What a successful call has left is a file of the session, once; no file has other bytes than were written."""
    for visit in _mounted(run):
        listed = Counter(name for name, _ in visit.outputs)
        for name, content in visit.outputs:
            if content != f"{visit.session_id}/{name.removesuffix('.txt')}\n":
                yield Violation("outputs", name_of(visit), f"{name} has {content[:120]!r}")
        wanted = set[str]() if _unseen(run, visit) else {name for name, _ in _left(visit)}
        for name in sorted(wanted | {name for name, count in listed.items() if count > 1}):
            if listed[name] != 1:
                yield Violation("outputs", name_of(visit), f"{name} is listed {listed[name]} times")


def _left(visit: Visit) -> Iterator[tuple[str, str]]:
    """Yield name and words of each output of a successful call."""
    for call, _ in _good(visit, "bash"):
        for words, name in _LEFT.findall(str(call["input"].get("command", ""))):
            yield name, words


def _unseen(run: Run, visit: Visit) -> bool:
    """Whether the database was away when the session's outputs were looked for last: that is made up for later."""
    away = [action for action in run.actions if action.kind in NEEDS_SERVER and not action.skipped]
    last = max((instant(result) or 0.0 for _, result in _good(visit, "bash")), default=0.0)
    return one_between(away, last - _LOOK_SECONDS, last + _LOOK_SECONDS)


def memories_are_kept(run: Run, scripts: Mapping[str, Script]) -> Iterator[Violation]:
    """What a result has acknowledged is in the memory store, once; nothing is there twice, or in part."""
    for visit in _mounted(run):
        lines = Counter(visit.memories.get(LOG, "").splitlines())
        for line, count in lines.items():
            if count > 1 or not line.startswith(f"{visit.session_id}/r"):
                yield Violation("memories", name_of(visit), f"{line!r} is {count} times in {LOG}")
        for call, _ in _acknowledged(visit, "bash"):
            for line in _LINE.findall(str(call["input"].get("command", ""))):
                if line not in lines:
                    yield Violation("memories", name_of(visit), f"{line} is not in {LOG}, though its call succeeded")
        yield from _note(visit, scripts[visit.kind].writes)


def _note(visit: Visit, writes: Mapping[str, str]) -> Iterator[Violation]:
    found, versions = visit.memories.get(NOTE), visit.versions.count(NOTE)
    for call, _ in _acknowledged(visit, "write"):
        path = str(call["input"].get("file_path"))
        if path.endswith(NOTE) and (found != writes[path] or versions != 1):
            yield Violation("memories", name_of(visit), f"{NOTE} has {versions} versions and says {str(found)[:80]!r}")


def _acknowledged(visit: Visit, name: str) -> Iterator[tuple[Json, Json]]:
    """Yield the successful calls beside which no result says that memories may not be kept."""
    results = list(answers(visit).values())
    doubts = [instant(each) or 0.0 for each in results if any(note in text_of(each) for note in _NOT_KEPT)]
    for call, result in _good(visit, name):
        begun, ended = instant(call) or 0.0, instant(result) or 0.0
        # Calls that run side by side have one pass; the first result tells of it.
        if not any(begun <= doubt <= ended + 1 for doubt in doubts):
            yield call, result


def outcomes_are_met(run: Run) -> Iterator[Violation]:
    """Each outcome was defined once; each evaluation has one end: first a revision, then satisfied, and no more."""
    for visit in run.visits:
        shown = {each["description"]: each for each in visit.evaluations}
        for description in visit.outcomes if visit.outcome == "done" else ():
            defined = [
                event for event in of_type(visit.final, "user.define_outcome") if event["description"] == description
            ]
            if len(defined) != 1:
                yield Violation("outcomes", name_of(visit), f"{description!r} was defined {len(defined)} times")
                continue
            told = _evaluations(visit, defined[0]["outcome_id"])
            if told != [(0, "needs_revision"), (1, "satisfied")]:
                yield Violation("outcomes", name_of(visit), f"{description!r} was evaluated as {told}")
            if shown.get(description, {}).get("result") != "satisfied":
                yield Violation("outcomes", name_of(visit), f"{description!r} is shown as {shown.get(description)}")


def _evaluations(visit: Visit, outcome_id: str) -> list[tuple[int, str]]:
    """Iteration and result of each end whose start is the one of this iteration; a start without end has no result."""
    mine = [event for event in visit.final if event.get("outcome_id") == outcome_id]
    ends: dict[str, list[Json]] = defaultdict(list)
    for end in of_type(mine, "span.outcome_evaluation_end"):
        ends[end["outcome_evaluation_start_id"]].append(end)
    told: list[tuple[int, str]] = []
    for start in of_type(mine, "span.outcome_evaluation_start"):
        found = ends.pop(start["id"], [])
        told += [(end["iteration"], end["result"]) for end in found] or [(start["iteration"], "no end")]
    return told + [(end["iteration"], f"{end['result']} without start") for left in ends.values() for end in left]


def runs_have_one_session(run: Run) -> Iterator[Violation]:
    """Each run that was answered is listed and has one session; no session has two, and none came by itself."""
    sessions = Counter(fire["session_id"] for fire in run.fires if fire.get("session_id"))
    for session_id, count in sessions.items():
        if count > 1:
            yield Violation("runs", session_id, f"{count} runs have this session")
    for fire in run.fires:
        if bool(fire.get("session_id")) == bool(fire.get("error")):
            yield Violation("runs", fire["id"], f"has session {fire.get('session_id')} and error {fire.get('error')}")
    for visit in run.visits:
        if visit.kind == "deployed" and visit.session_id:
            if visit.session_id not in sessions:
                yield Violation("runs", name_of(visit), "no run has this session, though one was answered with it")
            if visit.session_id not in run.fired and not visit.deleted:
                yield Violation("runs", name_of(visit), "does not say that it is the deployment's")
    for session_id in sorted(set(run.fired) ^ set(run.listed)):
        yield Violation("runs", session_id, "says one thing of its deployment, and the list another")
    if len(set(run.fired) | set(sessions)) > run.asked:
        yield Violation("runs", "all", f"{len(run.fired)} sessions came of {run.asked} requests")


def hooks_are_told(run: Run) -> Iterator[Violation]:
    """Each beginning and each end of a turn was told to the webhook under one id, however often it was sent."""
    told: dict[tuple[str, str], set[str]] = defaultdict(set)
    meant: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for post in run.posts:
        told[post.session_id, post.kind].add(post.message_id)
        meant[post.message_id].add((post.session_id, post.kind))
    for message_id, things in meant.items():
        if len(things) > 1:
            yield Violation("webhooks", message_id, f"tells of {sorted(things)}")
    for visit in run.visits:
        idled = len(of_type(visit.final, "session.status_idle"))
        for kind, wanted in (("session.created", 1), ("session.status_idled", idled)):
            found = len(told[visit.session_id, kind])
            if visit.outcome == "done" and found != wanted:
                yield Violation("webhooks", name_of(visit), f"{found} messages {kind}, of {wanted}")
