"""The demo's end as tables for people: tiers, outcomes, figures, the promotion, and what was kept.

`tests/cli/demoing/test_report.py`.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from chimera.cli.demoing import kept_table
from chimera.cli.demoing.lessons import alert
from chimera.cli.demoing.promotion import Promotion
from chimera.cli.demoing.report import Report
from chimera.cli.demoing.traffic import RATE
from chimera.cli.demoing.versions import GOOD, LEARNED, NTH, WORSE
from chimera.cli.models import tier_table

PAGE = 160  # columns where there is no terminal to ask


def show(report: Report, places: Mapping[str, str]) -> None:
    """Print everything on standard output; `places`: what can be looked at, and where."""
    console = Console(highlight=False)
    tier_table.show(report.compiled[GOOD], console)
    if not console.is_terminal:
        console.width = PAGE
    for part in (
        _outcomes(report),
        _figures(report),
        _versions(report),
        _moments(report.promotion),
        kept_table.board(report.training),
        alert(drift) if (drift := report.training.second.drift) else "no drift was told",
        *kept_table.answered(report.kept.answers),
        _places(places),
    ):
        console.print()
        console.print(part)
    for complaint in (*report.verdict.complaints, *report.promoted.complaints):
        console.print(f"[red]wrong[/red]  {complaint}", markup=True)
    console.print()
    kept_table.show_evidence(report.kept.evidence, console)


def _outcomes(report: Report) -> Table:
    verdict = report.verdict
    table = _table("outcomes", "outcome", "sent to get it")
    for name in ("expected", "results", "dead letters"):
        table.add_column(name, justify="right")
    table.add_row(
        "ok", "digits, JSON and binary", f"{verdict.valid:,}", f"{verdict.outcomes['ok']:,}", "-"
    )
    codes = {*verdict.expected, *verdict.outcomes, *verdict.dead_letters} - {"ok"}
    for code in sorted(codes):
        counts = (verdict.expected[code], verdict.outcomes[code], verdict.dead_letters[code])
        style = "" if len(set(counts)) == 1 else "red"
        kinds = report.kinds.get(code, "nothing")
        table.add_row(code, kinds, *(f"{count:,}" for count in counts), style=style)
    return table


def _figures(report: Report) -> Table:
    verdict = report.verdict
    table = _table("figures")
    about = f"of {verdict.valid:,} digits that the model was not trained on"
    table.add_row("accuracy", f"{verdict.accuracy:.2%}", about)
    total = verdict.requests + report.promoted.requests
    about = f"of {total:,} requests, {report.promoted.requests:,} of them during the promotion"
    for name, count in report.faults.items():
        table.add_row(name, f"{count:,}", about, style="red" if count else "")
    rate = f"{report.throughput_rps:,.0f}"
    about = f"burst of {report.burst:,}: first publish to last visible result"
    table.add_row("requests/s", rate, about)
    latency = " ".join(f"{name} {value:.1f}" for name, value in report.latency_ms.items())
    about = f"{report.paced:,} digits at {RATE}/s, while the {NTH[WORSE]} version is compiled: scheduled time"
    about += " to visible result"
    table.add_row("latency, ms", latency or "-", about)
    return table


def _versions(report: Report) -> Table:
    """Who answered, before and while version 2 was promoted."""
    table = _table("versions", "version", "learned from", "digest", "verified tiers")
    for name in ("answered before", "while promoted", "right"):
        table.add_column(name, justify="right")
    before, during = report.verdict, report.promoted
    for version, found in report.compiled.items():
        answered = before.answered[version] + during.answered[version]
        right = before.right[version] + during.right[version]
        table.add_row(
            version,
            LEARNED[version],
            report.digests[version][:12],
            ", ".join(one.variant for one in found.tiers if one.verdict == "verified"),
            f"{before.answered[version]:,}",
            f"{during.answered[version]:,}",
            f"{right / answered:.2%}" if answered else "-",
        )
    return table


def _moments(promotion: Promotion) -> Table:
    table = _table("a worse version, promoted at 0.0 s")
    served, judged, back = promotion.served, promotion.judged, promotion.rolled_back
    _moment(table, promotion, served.first_s.get(WORSE, 0.0), f"the {NTH[WORSE]} version answers")
    if judged is not None:
        told = f"its watch is {judged.verdict}: {judged.reason}"
        _moment(table, promotion, promotion.judged_s, told)
    if back is not None:
        how = "by itself" if back.is_automatic else "by hand"
        told = f"rolled back {how}: {', '.join(back.withdrawn)} withdrawn, {', '.join(back.restored)} restored"
        _moment(table, promotion, promotion.rolled_back_s, told)
    if served.in_a_row(GOOD):
        _moment(table, promotion, served.since_s, f"the {NTH[GOOD]} version answers again")
    if not promotion.is_taken_back:
        table.add_row("", "it was not taken back by its watch", style="red")
    return table


def _moment(table: Table, promotion: Promotion, at_s: float, what: str) -> None:
    after_s = promotion.after_s(at_s)
    table.add_row("-" if after_s is None else f"{after_s:.1f} s", what)


def _places(places: Mapping[str, str]) -> Table:
    table = _table("where to look")
    for what, where in places.items():
        table.add_row(what, where)
    return table


def _table(title: str, *columns: Any) -> Table:
    return Table(*columns, box=None, show_header=bool(columns), title=title, title_justify="left")
