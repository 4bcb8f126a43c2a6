"""What a replay came to, for a person: the verdict, the counts, both sides' times, some differences.

`tests/cli/test_models_replay.py` reads it.
"""

from datetime import UTC, datetime

from rich import box
from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from chimera.cli.models.views import show as show_parts
from chimera.schemas.replay_report import ReplayReport, Speed
from chimera.stores.registry.records import Replay

COUNTS = {
    "agreed": "the same",
    "disagreed": "another answer",
    "broken": "an error where there was none",
    "mended": "an answer where there was an error",
    "both_failed": "an error both times",
    "unanswered": "not replayed: no result, as it is in flight or removed by retention",
    "unrelated": "not replayed: expired, shed or refused before any model saw it",
    "own": "not replayed: answered by this very version",
    "pinned": "not replayed: they name a version",
    "others": "not replayed: not answered by the version asked for",
}
COLOURS = {"passed": "bold green", "failed": "bold red", "undecided": "bold yellow"}
WORDS = {"passed": "passed", "failed": "failed", "undecided": "could not be judged"}


def show(report: ReplayReport) -> None:
    show_parts(*parts(report))


def parts(report: ReplayReport) -> list[RenderableType]:
    counts = report.counts
    window = f"{_when(report.since_ms)} to {_when(report.until_ms)}"
    told: list[RenderableType] = [
        f"{report.model} {report.version}  {report.sha256}",
        f"{counts.replayed:,} of {counts.requests:,} requests, {window}, in {report.took_s:.1f} s",
    ]
    if report.is_cut:
        told.append("retention has removed a part of that time: what is left was replayed")
    told += [_counts(report), _speeds(report)]
    if report.differences:
        told.append(_differences(report))
    return [*told, verdict(report)]


def verdict(report: ReplayReport) -> Text:
    """The verdict and its reason, on one line."""
    word = Text(WORDS[report.verdict], style=COLOURS[report.verdict])
    return word.append(f": {report.reason}" if report.reason else "", style="not bold default")


def line(replayed: Replay) -> Text:
    """The latest replay of a version, for its page."""
    return Text(f"replayed {replayed.made_at:%Y-%m-%d %H:%M:%S %Z}: ") + verdict(replayed.report)


def _counts(report: ReplayReport) -> Table:
    table = Table(Column("requests", justify="right"), "", "", box=box.SIMPLE_HEAD)
    codes = {"broken": report.errors, "unrelated": report.served_errors}
    for name, said in COUNTS.items():
        count = int(getattr(report.counts, name))
        if count or name in ("agreed", "disagreed", "broken"):
            shown = codes.get(name, {}) if count else {}
            why = ", ".join(f"{code} {times:,}" for code, times in sorted(shown.items()))
            table.add_row(f"{count:,}", said, why)
    return table


def _speeds(report: ReplayReport) -> Table:
    right = [Column(name, justify="right") for name in ("p50 ms", "p99 ms", "rows a batch")]
    table = Table("compute", *right, box=box.SIMPLE_HEAD)
    versions = ", ".join(report.served_by)
    served = f"served by {versions}" if versions else "served"
    for name, speed in ((served, report.served), (f"{report.version}, here", report.candidate)):
        table.add_row(name, *_speed(speed))
    if report.p99_ratio is not None:
        p50 = report.candidate.p50_us / report.served.p50_us if report.served.p50_us else 0.0
        table.add_row("ratio", f"{p50:.2f}", f"{report.p99_ratio:.2f}", "")
    return table


def _speed(speed: Speed) -> tuple[str, str, str]:
    if not speed.mean_rows:
        return "-", "-", "-"
    return f"{speed.p50_us / 1e3:.3f}", f"{speed.p99_us / 1e3:.3f}", f"{speed.mean_rows:.1f}"


def _differences(report: ReplayReport) -> Table:
    answers = [Column(name, overflow="fold") for name in ("served", "candidate", "why")]
    table = Table("the first that differ", *answers, box=box.SIMPLE_HEAD)
    for one in report.differences:
        table.add_row(one.request, one.served, one.candidate, one.reason)
    return table


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
