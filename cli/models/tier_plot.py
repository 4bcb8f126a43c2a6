"""A compile report as a picture: p50 and p99 of each verified tier at each batch size, in PNG.

The only module that knows matplotlib, which is an extra: `chimera-stream[plot]`.
`tests/cli/test_models.py` draws one.
"""

# pyright: reportUnknownMemberType=false
# (matplotlib's functions are typed in part)

from pathlib import Path

from matplotlib.figure import Figure

from chimera.cli.models.tier_table import measured_sizes, p50_p99
from chimera.schemas.compile_report import CompileReport

WIDTH_IN, HEIGHT_IN, DPI = 9.0, 4.5, 120


def draw(report: CompileReport, path: Path) -> None:
    """One group of bars a batch size, on a logarithmic axis; a whisker ends at p99."""
    sizes = measured_sizes(report)
    tiers = [one for one in report.tiers if one.timings and one.timings.steady]
    figure = Figure((WIDTH_IN, HEIGHT_IN), DPI, layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(tiers))
    for index, tier in enumerate(tiers):
        pairs = [p50_p99(tier, rows) or (0.0, 0.0) for rows in sizes]
        places = [at + (index - (len(tiers) - 1) / 2) * width for at in range(len(sizes))]
        p50 = [pair[0] for pair in pairs]
        above = [pair[1] - pair[0] for pair in pairs]
        whiskers = [[0.0] * len(sizes), above]
        axes.bar(places, p50, width * 0.9, yerr=whiskers, capsize=2, label=tier.variant)
    axes.set_yscale("log")
    axes.set_xticks(range(len(sizes)), [f"batch {rows}" for rows in sizes])
    axes.set_ylabel("milliseconds a batch: p50, whisker to p99")
    axes.set_title(f"{report.model} {report.version} on {report.machine.get('processor', '')}")
    axes.legend()
    figure.savefig(path)
