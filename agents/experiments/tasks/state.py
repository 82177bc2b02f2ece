"""What a task changes in its databases, in a form in which two runs of it can be compared row by row.

Ids that tools draw by lot differ from run to run. Each is replaced by what it stands for: the table and a digest of the
row that it is the key of, in which other such ids are replaced already. Two runs are then equal just when a renaming of
drawn ids makes the one the other (rows that are otherwise the same count as often as they are there). An id that the
task itself gives, or that was there before, stays as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Table

from agents.experiments.tasks.domain import Domain, Rows

Changes = Mapping[str, Mapping[str, int]]
"""By table: rows, each as the JSON of its columns, and how many more of it there are than before (fewer: below 0)."""

_MOST_TOLD = 8
_Row = Mapping[str, Any]


def changes(domain: Domain, before: Rows, after: Rows, given: Collection[str]) -> Changes:
    """Return what became of the rows *before*; *given* are the texts that the task gives."""
    names: dict[str, str] = {}
    return {
        table.name: _changes(table, before[table.name], after[table.name], names, given)
        for hand in domain.hands
        for table in hand.tables
    }


def _changes(
    table: Table,
    before: Sequence[tuple[Any, ...]],
    after: Sequence[tuple[Any, ...]],
    names: dict[str, str],
    given: Collection[str],
) -> Mapping[str, int]:
    """Compare one table; *names* are those of drawn ids, from the tables before it, and get its own."""
    columns, keys = table.columns.keys(), [column.name for column in table.primary_key]
    key = keys[0] if len(keys) == 1 else ""
    known = {row[columns.index(key)] for row in before} if key else set[Any]()
    counted: Counter[str] = Counter()
    old, new = Counter(before), Counter(after)
    for values, count in (old - new).items():
        counted[_json(dict(zip(columns, values, strict=True)))] -= count
    for values, count in (new - old).items():
        row = dict(zip(columns, values, strict=True))
        plain = {name: names.get(value, value) if isinstance(value, str) else value for name, value in row.items()}
        if key and row[key] not in known and row[key] not in given:
            rest = {name: value for name, value in plain.items() if name != key}
            # A key may have its name from another table already: a customer of one hand in the next.
            plain[key] = names.setdefault(str(row[key]), f"(new in {table.name}: {_digest(rest)})")
        counted[_json(plain)] += count
    return counted


def rows_changed(made: Changes) -> int:
    """Return how many rows were added, changed or taken away."""
    return sum(max((+counted).total(), (-counted).total()) for counted in map(Counter, made.values()))


def differences(domain: Domain, found: Changes, wanted: Changes) -> Mapping[str, Sequence[str]]:
    """Say for each hand, by its name, how what was *found* differs from what is *wanted*; nothing if not at all."""
    told: dict[str, Sequence[str]] = {}
    for hand in domain.hands:
        all_of_it = [line for table in hand.tables for line in _told(table, found[table.name], wanted[table.name])]
        more = len(all_of_it) - _MOST_TOLD
        told[hand.name] = [*all_of_it[:_MOST_TOLD], f"and {more} differences more"] if more > 0 else all_of_it
    return told


def _told(table: Table, found: Mapping[str, int], wanted: Mapping[str, int]) -> Iterator[str]:
    keys = [column.name for column in table.primary_key]
    more = Counter(found)
    more.subtract(wanted)
    missing = [json.loads(row) for row in (-more).elements()]
    for text in more.elements():
        row: _Row = json.loads(text)
        meant = next((each for each in missing if all(each[key] == row[key] for key in keys)), None)
        if meant is None:
            yield f"{table.name}: a row too many: {_shown(row)}"
            continue
        missing.remove(meant)
        wrong = [f"{name} is {_json(row[name])}, not {_json(meant[name])}" for name in row if row[name] != meant[name]]
        yield f"{table.name} {' '.join(str(row[key]) for key in keys)}: {', '.join(wrong)}"
    yield from (f"{table.name}: no row {_shown(row)}" for row in missing)


def _shown(row: _Row) -> str:
    return ", ".join(f"{name} {_json(value)}" for name, value in row.items())


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
