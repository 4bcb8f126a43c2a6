"""A compile report as a table for a person, and what would be chosen at each batch size.

`tests/cli/test_models.py` reads it.
"""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Column, Table

from chimera.schemas.compile_report import CompileReport, TierReport
from chimera.schemas.tiers import BY_NAME
from chimera.workers.dispatching.choice import choose

PAGE = 200  # columns where there is no terminal to ask


def show(report: CompileReport, console: Console) -> None:
    """The table, what is chosen against the eager tier, and what was left out."""
    if not console.is_terminal:
        console = Console(file=console.file, width=PAGE)
    sizes = measured_sizes(report)
    console.print(_table(report, sizes))
    for line in (*chosen(report, sizes), *_left_out(report)):
        console.print(line, highlight=False)


def measured_sizes(report: CompileReport) -> list[int]:
    return sorted(
        {one.rows for tier in report.tiers if tier.timings for one in tier.timings.steady}
    )


def chosen(report: CompileReport, sizes: Sequence[int]) -> list[str]:
    """One line a batch size: the first choice, and how it compares with torch's own."""
    lines: list[str] = []
    for rows in sizes:
        order = choose(report, (rows,))
        first = next((one for one in order if p50_p99(one, rows)), None)
        if first is None:
            continue
        line = f"batch {rows}: {first.variant}"
        eager = next((one for one in order if one.tier == _eager_of(first)), None)
        ours, theirs = p50_p99(first, rows), p50_p99(eager, rows) if eager else None
        if ours and theirs and eager is not first:
            line += f", {theirs[0] / ours[0]:.1f} x {_eager_of(first)} at p50"
            line += f", {theirs[1] / ours[1]:.1f} x at p99"
            line += _paid(first, rows)
        lines.append(line)
    return lines


def p50_p99(tier: TierReport, rows: int) -> tuple[float, float] | None:
    """Milliseconds; none: it was not measured."""
    steady = tier.timings.steady if tier.timings else ()
    return next(((one.p50_ms, one.p99_ms) for one in steady if one.rows == rows), None)


def _table(report: CompileReport, sizes: Sequence[int]) -> Table:
    table = Table(
        Column("tier", no_wrap=True),
        "precision",
        *(_right(name) for name in ("compile s", "load ms", "first ms", "warm-up ms")),
        *(_right(f"p50/p99 ms @{rows}") for rows in sizes),
        _right("max error"),
        Column("verdict", overflow="fold"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title=f"{report.model} {report.version}, compared with {report.reference},"
        f" {report.took_s:.0f} s on {report.machine.get('processor', 'this machine')}",
    )
    for tier in report.tiers:
        table.add_row(tier.tier, tier.precision, *_cells(tier, sizes))
    return table


def _cells(tier: TierReport, sizes: Sequence[int]) -> list[str]:
    timings = tier.timings
    once = ["-"] * 4
    if timings is not None:
        once = [
            f"{timings.compile_s:.1f}",
            f"{timings.load_ms:.1f}",
            f"{timings.first_ms:.2f}",
            f"{timings.warm_up_ms:.0f}",
        ]
    pairs = [p50_p99(tier, rows) for rows in sizes]
    steady = [f"{pair[0]:.3f}/{pair[1]:.3f}" if pair else "-" for pair in pairs]
    errors = [check.errors.max_abs for check in tier.checks if check.errors]
    verdict = f"{tier.verdict}: {tier.reason}" if tier.reason else tier.verdict
    return [*once, *steady, f"{max(errors):.1e}" if errors else "-", verdict]


def _paid(tier: TierReport, rows: int) -> str:
    requests = tier.timings.pays_after.get(rows) if tier.timings else None
    return "" if requests is None else f", paid for after {requests:,} requests"


def _eager_of(tier: TierReport) -> str:
    return f"torch-{BY_NAME[tier.tier].device}"


def _left_out(report: CompileReport) -> list[str]:
    return [f"not verified on {case}: {reason}" for case, reason in report.left_out.items()]


def _right(name: str) -> Column:
    return Column(name, justify="right")
