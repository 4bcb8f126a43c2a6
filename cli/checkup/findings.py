"""What `chimera doctor` found, and how it is told.

A note is nothing wrong, only something to know: no stack runs, no GPU is here. A failure says what
to do about it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "note", "failed"]

_MARKS = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "failed": "[red]failed[/red]"}


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    state: State
    found: str
    do: str = ""  # what to do about it; always there where something failed


def ok(check: str, found: str) -> Finding:
    return Finding(check, "ok", found)


def note(check: str, found: str, do: str = "") -> Finding:
    return Finding(check, "note", found, do)


def failed(check: str, found: str, do: str) -> Finding:
    return Finding(check, "failed", found, do)


def is_well(findings: Sequence[Finding]) -> bool:
    return all(one.state != "failed" for one in findings)


def as_json(findings: Sequence[Finding]) -> str:
    told = {"ok": is_well(findings), "checks": [asdict(one) for one in findings]}
    return json.dumps(told, indent=2)


def show(findings: Sequence[Finding]) -> None:
    """Print a table on standard output, each advice below its finding."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    table = Table(box=None, show_header=False, padding=(0, 1))
    for one in findings:
        table.add_row(_MARKS[one.state], escape(one.check), escape(one.found))
        if one.do:
            table.add_row("", "", f"[bold]-> {escape(one.do)}[/bold]")
    console.print(table)
