"""A compile report as bars on a terminal: p50 of each measured tier, a line to p99, by batch size.

Lengths are shares of the longest p99 of the batch size, so tiers compare within one, not across.
`tests/cli/test_models.py` reads them.
"""

from rich.console import Console
from rich.text import Text

from chimera.cli.models.tier_table import measured_sizes, p50_p99
from chimera.schemas.compile_report import CompileReport

WIDTH = 48  # characters of the longest
BAR, LINE = "█", "─"


def show(report: CompileReport, console: Console) -> None:
    """One group of bars a batch size; milliseconds a batch behind each."""
    for rows in measured_sizes(report):
        pairs = {tier.variant: pair for tier in report.tiers if (pair := p50_p99(tier, rows))}
        name_width = max(map(len, pairs))
        longest = max(p99 for _, p99 in pairs.values()) or 1.0
        console.print(f"batch {rows}", style="bold", highlight=False)
        for name, (p50, p99) in pairs.items():
            console.print(
                Text(f"  {name:<{name_width}}  "),
                bar(p50 / longest, p99 / longest),
                Text(f" {p50:.3f} / {p99:.3f} ms"),
                sep="",
                soft_wrap=True,
            )


def bar(p50: float, p99: float) -> Text:
    """Shares of the width."""
    full = max(1, round(p50 * WIDTH))
    return Text(BAR * full, style="green") + Text(LINE * (round(p99 * WIDTH) - full), style="dim")
