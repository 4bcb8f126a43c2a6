"""What was learned and what was kept, as tables: the leaderboard, answers in SQL, the auditor's verdict.

`tests/cli/demoing/test_report.py`.
"""

from collections.abc import Iterator, Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from chimera.cli.audit.verify import said
from chimera.cli.demoing.answers import Answer
from chimera.cli.demoing.evidence import Evidence
from chimera.cli.demoing.orders import METRIC
from chimera.cli.demoing.report import Training
from chimera.cli.demoing.versions import LEARNED
from chimera.schemas.training_manifest import Interval


def board(training: Training) -> Table:
    """Both runs, each by the data that it held out of its own."""
    columns = ("", "run", "learned from", "s")
    table = Table(*columns, box=None, title="leaderboard", title_justify="left")
    table.add_column(f"{METRIC} (95 %)", justify="right")
    durations = {
        one.run_id: f"{one.duration_s:.1f}"
        for one in (training.first.manifest, training.second.manifest)
        if one is not None
    }
    for place in training.board:
        table.add_row(
            str(place.rank),
            place.run_id,
            LEARNED[place.run_id],
            durations[place.run_id],
            f"{place.value:.3f}{_sure(place.interval)}{', tied' if place.is_tied else ''}",
        )
    return table


def answered(answers: Sequence[Answer]) -> Iterator[Group]:
    """One table for each question."""
    for one in answers:
        table = Table(*one.names, box=None)
        for row in one.rows:
            table.add_row(*row)
        yield Group(Text(one.question, "italic"), table)


def show_evidence(evidence: Evidence, console: Console) -> None:
    """The verdict over the log, then what was done to a copy, and the verdict over that."""
    for verdict in (evidence.verdict, evidence.found):
        if verdict is evidence.found:
            told = f"row {evidence.altered:,} of a copy altered: another version is said to have answered"
            console.print(f"\n{told}", markup=False)
        lines = said(verdict, evidence.policy, is_own_policy=False)
        style = None if verdict.is_good else "red"
        console.print(lines, markup=False, style=style, soft_wrap=True)
    if not evidence.is_named:
        console.print("the verifier did not name that row", style="red")


def _sure(interval: Interval | None) -> str:
    return "" if interval is None else f" ({interval.low:.3f} to {interval.high:.3f})"
