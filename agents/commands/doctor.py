"""``hecaton doctor``: is everything here that the server needs, and if not, what to do."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.checks import findings as all_findings
from agents.commands.findings import Check, State
from agents.config import Settings

_MARK: dict[State, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "note": ("note", "yellow"),
    "problem": ("PROBLEM", "bold red"),
}


def doctor(console: Console, settings: Settings, *, as_json: bool = False) -> int:
    """Run every check, print the findings, and return 1 when one is a problem, else 0."""
    findings: list[Check] = []
    with console.status("looking …") as status:
        for finding in all_findings(settings):
            findings.append(finding)
            status.update(f"looking … {len(findings)} done")
    if as_json:
        print_json(console, [asdict(finding) for finding in findings])
        return int(any(finding.state == "problem" for finding in findings))
    console.print(report(findings))
    problems = [finding.name for finding in findings if finding.state == "problem"]
    if problems:
        console.print(Text(f"{len(problems)} to mend: {', '.join(problems)}", style="bold red"))
        return 1
    console.print(Text("Ready. Start the server with: hecaton up", style="bold green"))
    return 0


def report(findings: list[Check]) -> Table:
    """Return the findings as a table; the remedy stands below what was found."""
    table = Table(box=None, header_style="bold", padding=(0, 1))
    table.add_column("check", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("found, and what to do", ratio=1)
    for finding in findings:
        mark, style = _MARK[finding.state]
        found = Text(finding.found)
        if finding.remedy:
            found.append(f"\n→ {finding.remedy}", style=style)
        table.add_row(finding.name, Text(mark, style=style), found)
    return table
