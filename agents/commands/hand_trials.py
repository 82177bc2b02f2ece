"""``hecaton hands contract`` and ``hecaton hands test``: a server's object tried out here, without a platform."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from agents.commands.failures import CommandFailed
from agents.governance.compatibility import compare
from agents.governance.contract import Contract
from agents.governance.golden import GoldenCall, parse_golden, recorded, replay, too_slow
from agents.governance.trial import TriedHand, tried


def write_contract(console: Console, server: str, name: str, version: str, output: Path | None) -> None:
    """Print a contract to begin with, or write it to a file that is not there yet. Raises CommandFailed."""

    async def draft() -> Contract:
        async with tried(server) as hand:
            return hand.draft(name, version)

    text = asyncio.run(draft()).text()
    if output is None:
        console.print(text, markup=False, soft_wrap=True, end="")
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CommandFailed(f"{output}: {error.strerror}") from error
    console.print(f"wrote {output}; say there what it promises, allows and costs", markup=False)


def try_hand(
    console: Console, server: str, contract: Path | None, golden: Path | None, against: Path | None, *, record: bool
) -> None:
    """Print what speaks against a server. Raises CommandFailed when something does."""
    if contract is None and golden is None:
        raise CommandFailed("--contract, --golden: give one of them, or both", exit_code=2)
    if against is not None and contract is None:
        raise CommandFailed("--against: needs the contract of the new version, too (--contract)", exit_code=2)
    terms = None if contract is None else _contract(contract)
    calls: Sequence[GoldenCall] = () if golden is None else parse_golden(_read(golden), str(golden))
    faults, written = asyncio.run(_test(server, terms, calls, record=record))
    notes: list[str] = []
    if golden is not None and record:
        golden.write_text("".join(f"{call.line()}\n" for call in written), encoding="utf-8")
        notes.append(f"wrote {len(written)} golden calls to {golden}")
    if terms is not None and against is not None:
        for finding in compare(_contract(against), terms):
            (faults if finding.breaking else notes).append(finding.text)
    for note in notes:
        console.print(Text(f"  {note}", style="dim"))
    for fault in faults:
        console.print(Text(f"  {fault}", style="red"))
    if faults:
        raise CommandFailed(f"{server}: {len(faults)} faults")
    console.print(f"{server}: {_kept(terms, calls)}", markup=False)


def _kept(terms: Contract | None, calls: Sequence[GoldenCall]) -> str:
    parts = [] if terms is None else [f"keeps to the contract of {terms.id}"]
    return ", ".join([*parts, *([f"{len(calls)} golden calls"] if calls else [])])


async def _test(
    server: str, terms: Contract | None, calls: Sequence[GoldenCall], *, record: bool
) -> tuple[list[str], Sequence[GoldenCall]]:
    """Return what speaks against the server, and the golden calls, with what came of those that are to be recorded."""
    async with tried(server) as hand:
        faults = [] if terms is None else list(hand.faults(terms))
        if record:
            return faults, await recorded(calls, hand.ask, terms or hand.draft("trial", "1"))
        return [*faults, *await _golden_faults(hand, terms, calls)], calls


async def _golden_faults(hand: TriedHand, terms: Contract | None, calls: Sequence[GoldenCall]) -> list[str]:
    unrecorded = [call for call in calls if call.outcome is None]
    found = [f"golden call {call.title}: nothing is expected of it yet; run with --record" for call in unrecorded]
    replayed = await replay([call for call in calls if call.outcome is not None], hand.ask, terms)
    found += [f"golden call {each.call.title}: {'; '.join(each.faults)}" for each in replayed if each.faults]
    slow = None if terms is None else too_slow(replayed, terms)
    return found if slow is None else [*found, slow]


def _contract(path: Path) -> Contract:
    return Contract.parse(_read(path), str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path}: {error}") from error
