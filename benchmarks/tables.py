"""Reports as tables for a person: the machine, who promises what, figures, the rivals beside us."""

import statistics
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Column, Table

from benchmarks.machine import headline

Report = dict[str, Any]

PAGE = 132  # columns where there is no terminal to ask


def show(report: Report, console: Console) -> None:
    """Print the table of a report by its kind, then what could not run and why."""
    if not console.is_terminal:
        console = Console(file=console.file, width=PAGE)
    console.print(headline(report["machine"]), highlight=False)
    {
        "throughput": _throughput,
        "latency": _latency,
        "memory": _memory,
        "scaling": _scaling,
        "transactions": _transactions,
        "sinks": _sinks,
        "audit": _audit,
        "training": _training,
    }[report["kind"]](report, console)
    for name, reason in report.get("not_run", {}).items():
        console.print(f"{name}: {reason}", highlight=False)


def _sinks(report: Report, console: Console) -> None:
    table = Table("what", _right("figure"), box=box.SIMPLE_HEAD, title_justify="left")
    table.title = f"Sink of {report['rows']:,} rows, median of {report['rounds']} rounds"
    for more, rows in (("", "rows with commitments"), ("_no_commitments", "without any")):
        if (backlog := report.get(f"backlog{more}")) is None:
            continue  # a report from before there was the other one
        table.add_row(f"{rows}, rows/s from Kafka to an answer", f"{backlog['rows_per_s']:,.0f}")
        table.add_row("  a second of processor time", f"{backlog['rows_per_cpu_s']:,.0f}")
        table.add_row("  processor us a row", f"{backlog['cpu_us_a_row']:.2f}")
        for name, size in report[f"bytes_a_row{more}"].items():
            table.add_row(f"  bytes a row of {name}", f"{size}")
    _add_spine(table, report)
    for name, value in report["visible_ms"].items():
        table.add_row(f"visible at {report['rate']:,.0f}/s, ms, {name}", f"{value:,}")
    console.print(table)


def _add_spine(table: Table, report: Report) -> None:
    """The spine in the same rounds, and what each is to it; in older reports another sitting's."""
    if "ratios" not in report and report.get("to_spine"):
        table.add_row("x another sitting's spine", f"{report['to_spine']:.2f}")
    for name in ("exactly_once", "at_least_once"):
        if found := report.get("raw", {}).get(name):
            rate = statistics.median(one["rps"] for one in found)
            table.add_row(f"spine, {name}, requests/s", f"{rate:,.0f}")
    for name, ratio in report.get("ratios", {}).items():
        rounds = " to ".join(f"{one:.2f}" for one in ratio["rounds"])
        times = "-" if ratio["of_medians"] is None else f"{ratio['of_medians']:.2f}"
        table.add_row(f"{name}, of medians (rounds)", f"{times} ({rounds})")


def _throughput(report: Report, console: Console) -> None:
    table = Table(
        "contender",
        "promises",
        *(_right(name) for name in ("requests/s", "spread", "x loop", "requests", "lost")),
        *(_right(name) for name in ("repeated", "CPU us", "broker us", "batch")),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title=f"Throughput, medians of {report['rounds']} rounds",
    )
    ranked = sorted(report["contenders"].items(), key=lambda item: -item[1]["rps"]["median"])
    for name, figures in ranked:
        table.add_row(
            name,
            figures["promises"],
            f"{figures['rps']['median']:,.0f}",
            f"{figures['rps']['spread_pct']:.0f} %",
            "-" if figures["to_loop"] is None else f"{figures['to_loop']:.2f}",
            f"{figures['requests']:,}",
            f"{figures['lost']:,}",
            f"{figures['repeated']:,}",
            f"{figures['cpu_us']:.1f}",
            f"{figures['broker_cpu_us']:.1f}",
            "-" if figures["batch_size"] is None else f"{figures['batch_size']:.0f}",
        )
    console.print(table)


def _latency(report: Report, console: Console) -> None:
    table = Table(
        "contender",
        *(
            _right(name)
            for name in ("p50 ms", "p95 ms", "p99 ms", "p99 spread", "append", "commit")
        ),
        *(_right(name) for name in ("lost", "CPU", "broker", "batch")),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title=(
            f"Latency at {report['rate']:,.0f} requests/s from the scheduled time, "
            f"{report['seconds']:.0f} s a round, medians of {report['rounds']} rounds"
        ),
        caption_justify="left",
        caption="append: p50 until the result is on the broker; commit: p50 from there to the reader",
    )
    for name, figures in report["contenders"].items():
        table.add_row(
            name,
            *(f"{figures[key]['median']:.1f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
            f"{figures['p99_ms']['spread_pct']:.0f} %",
            f"{figures['until_append_p50_ms']:.1f}",
            f"{figures['append_to_visible_p50_ms']:.1f}",
            f"{figures['lost']:,}",
            f"{figures['cpu_share'] * 100:.0f} %",
            f"{figures['broker_cpu_share'] * 100:.0f} %",
            f"{figures['stories'].get('chimera-batch-size', 0):.0f}",
        )
    console.print(table)


def _memory(report: Report, console: Console) -> None:
    table = Table(
        "phase",
        "process",
        *(_right(name) for name in ("requests", "first MB", "last MB", "peak MB", "growth")),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title="Resident memory (10^6 bytes)",
    )
    for phase in report["phases"]:
        for process in phase["processes"]:
            table.add_row(
                phase["name"],
                process["name"],
                f"{phase['requests']:,}",
                f"{process['first_mb']:.0f}",
                f"{process['last_mb']:.0f}",
                f"{process['peak_mb']:.0f}",
                f"{process['growth_pct']:+.1f} %",
            )
    console.print(table)


def _audit(report: Report, console: Console) -> None:
    sequencer, table = report["sequencer"], Table("what", _right("figure"), box=box.SIMPLE_HEAD)
    table.title = (
        f"Audit log, {report.get('leaves') or report['requests']:,} requests,"
        f" medians of {report['rounds']} rounds"
    )
    table.add_row("leaves/s, journal to checkpoint", f"{sequencer['leaves_s']:,.0f}")
    _add_spine(table, report)
    table.add_row("leaves/s of one core", f"{sequencer['leaves_s_of_a_core']:,.0f}")
    table.add_row("CPU us a leaf, all of the process", f"{sequencer['cpu_us']:.2f}")
    for name, cost_us in report["stages_us"].items():
        table.add_row(f"  {name}, us", f"{cost_us:.2f}")
    verified = report.get("verified", 1_000_000)
    table.add_row(f"{verified:,} leaves verified, s", f"{report['verify_s']:.2f}")
    table.add_row("one inclusion proof of them, ms", f"{report['proof_ms']:.1f}")
    if "clickhouse" in report:
        found = report["clickhouse"]
        milliseconds = (f"{name} {value:.1f}" for name, value in found["proof_ms"].items())
        table.add_row("one proof from ClickHouse, ms", ", ".join(milliseconds))
        table.add_row("verified from ClickHouse, s", f"{found['verify_s']:.2f}")
        if "bytes_a_row" in found:
            sizes = (f"{name} {value:.1f}" for name, value in found["bytes_a_row"].items())
            table.add_row("a row of audit_log, bytes", ", ".join(sizes))
    console.print(table)


def _scaling(report: Report, console: Console) -> None:
    table = Table(
        "nodes x executors",
        *(
            _right(name)
            for name in ("requests/s", "spread", "gain", "CPU us", "broker us", "cores")
        ),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title=f"Scaling, exactly once, medians of {report['rounds']} rounds",
    )
    for name, figures in report["steps"].items():
        table.add_row(
            name,
            f"{figures['rps']['median']:,.0f}",
            f"{figures['rps']['spread_pct']:.0f} %",
            f"{figures['gain']:.2f}",
            f"{figures['cpu_us']:.1f}",
            f"{figures['broker_cpu_us']:.1f}",
            f"{figures['cores']:.2f}",
        )
    console.print(table)


def _transactions(report: Report, console: Console) -> None:
    table = Table(
        "producer",
        "pace",
        *(_right(name) for name in ("p50 ms", "p95 ms", "p99 ms", "per second")),
        *(_right(name) for name in ("client CPU ms", "broker CPU ms")),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title=f"One transaction by itself: {report['records']} records, an offset, the end",
    )
    for figures in report["figures"]:
        table.add_row(
            figures["producer"],
            figures["pace"],
            *(f"{figures[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
            f"{figures['per_second']:,.0f}",
            f"{figures['client_cpu_ms']:.2f}",
            f"{figures['broker_cpu_ms']:.2f}",
        )
    console.print(table)


def _training(report: Report, console: Console) -> None:
    table = Table(
        "what",
        *(_right(name) for name in ("figure", "beside it", "ratio", "limit")),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title=f"Training, medians of {report['rounds']} rounds, one thread a process",
    )
    for row in training_rows(report):
        table.add_row(*row)
    console.print(table)


def training_rows(report: Report) -> Iterator[tuple[str, str, str, str, str]]:
    """What was measured, the figure, its rival's, one over the other, what it may be."""
    loop, share = report["loop"], report["checkpoint"]["large"]
    ours, bare = (f"{loop[name]['median']:.0f} us" for name in ("ours_us", "bare_us"))
    yield "loop, an update", ours, f"{bare} bare", f"{loop['overhead_pct']:+.1f} %", "<= 3 %"
    for name, rate in report["loaders"]["rows_s"].items():
        yield name, f"{rate['median']:,.0f} rows/s", "", "", ""
    size = f"{share['bytes'] / 1e6:.0f} MB"
    took, part = f"{share['ms']['median']:.0f} ms", f"{share['share_pct']:.3f} %"
    yield "checkpoint", took, size, f"{part} of ten minutes", "<= 1 %"
    both = report["processes"]
    one, two = (f"{both[name]['median']:,.0f} rows/s" for name in ("one_rows_s", "two_rows_s"))
    yield "two processes", two, f"{one} in one", f"{both['efficiency_pct']:.0f} %", ""
    memory = report["memory"]
    peak, data = f"{memory['training_peak_mb']:.0f} MB", f"{memory['data_mb']:.0f} MB of data"
    yield "resident, training", peak, data, f"{memory['growth_pct']:+.1f} %", "flat"


def _right(name: str) -> Column:
    return Column(name, justify="right")
