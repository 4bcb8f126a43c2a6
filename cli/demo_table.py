"""The demo's end: what came of every request, as a table for people and as JSON for programs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chimera.cli.demo_requests import Plan
from chimera.cli.demo_traffic import RATE, Traffic
from chimera.cli.demo_verdict import Verdict

ACCURACY = 0.95  # what the demo must reach


@dataclass(frozen=True, slots=True)
class Report:
    verdict: Verdict
    throughput_rps: float
    burst: int
    latency_ms: Mapping[str, float]  # p50, p95, p99
    paced: int
    kinds: Mapping[str, str]  # error code -> what was sent to get it

    @property
    def is_good(self) -> bool:
        return self.verdict.is_exact and self.verdict.accuracy >= ACCURACY


def report(verdict: Verdict, traffic: Traffic, plan: Plan) -> Report:
    kinds: dict[str, str] = {}
    for request in plan.burst:
        if request.code is not None and request.kind not in kinds.get(request.code, ""):
            known = kinds.get(request.code)
            kinds[request.code] = f"{known}, {request.kind}" if known else request.kind
    latencies = traffic.latencies_ms()
    return Report(
        verdict,
        traffic.throughput_rps,
        traffic.burst,
        percentiles(latencies),
        len(latencies),
        kinds,
    )


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95 and p99 by nearest rank; nothing where there are no values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {f"p{rank}": ordered[-(-rank * len(ordered) // 100) - 1] for rank in (50, 95, 99)}


def as_json(report: Report) -> str:
    verdict = report.verdict
    fields: dict[str, Any] = {
        "requests": verdict.requests,
        "results": verdict.results,
        "dead_letters": dict(sorted(verdict.dead_letters.items())),
        "expected": dict(sorted(verdict.expected.items())),
        "mismatched": verdict.mismatched,
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "accuracy": round(verdict.accuracy, 4),
        "throughput_rps": round(report.throughput_rps, 1),
        "latency_ms": {name: round(value, 2) for name, value in report.latency_ms.items()},
    }
    return json.dumps(fields, indent=2) + "\n"


def show(report: Report, places: Mapping[str, str]) -> None:
    """Print everything on standard output; `places`: what can be looked at, and where."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    console.print(_outcomes(report))
    console.print()
    console.print(_figures(report))
    for complaint in report.verdict.complaints:
        console.print(f"[red]wrong[/red]  {complaint}", markup=True)
    console.print()
    console.print(_places(places))


def _outcomes(report: Report) -> Any:
    from rich.table import Table

    verdict = report.verdict
    table = Table("outcome", "sent to get it", box=None, title="outcomes", title_justify="left")
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


def _figures(report: Report) -> Any:
    from rich.table import Table

    verdict = report.verdict
    table = Table(box=None, show_header=False, title="figures", title_justify="left")
    faults = {
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "mismatched": verdict.mismatched,
    }
    share = f"{verdict.accuracy:.2%}"
    table.add_row(
        "accuracy", share, f"of {verdict.valid:,} digits that the model was not trained on"
    )
    for name, count in faults.items():
        table.add_row(
            name, f"{count:,}", f"of {verdict.requests:,} requests", style="red" if count else ""
        )
    rate = f"{report.throughput_rps:,.0f}"
    burst = f"burst of {report.burst:,}: first publish to last visible result"
    table.add_row("requests/s", rate, burst)
    latency = " ".join(f"{name} {value:.1f}" for name, value in report.latency_ms.items())
    paced = f"{report.paced:,} digits at {RATE}/s: scheduled time to visible result"
    table.add_row("latency, ms", latency or "-", paced)
    return table


def _places(places: Mapping[str, str]) -> Any:
    from rich.table import Table

    table = Table(box=None, show_header=False, title="where to look", title_justify="left")
    for what, where in places.items():
        table.add_row(what, where)
    return table
