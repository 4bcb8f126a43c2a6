"""What loading a version beside a live one does to latency: an open loop, and versions that take over.

    python -m benchmarks.loading [--rounds 5] [--rate 1000] [--round-s 16] [--mib 32] [--json FILE] [--save]

A node follows `models.state` under a steady stream. In each round a version that no process has seen
yet is published: its files are laid out, a successor of the executor loads and warms it, traffic
turns, the one before ends. A request is one of `while` if it was due between the publication and
`AFTER_S` after the node says that the version answers, of `before` if it was due in the quiet part of the
same round. What other processes of the machine took meanwhile stands beside it. `--mib` is the version's
size: a table of which each request reads one row, so that it is heavy to load and light to run.
"""

# pyright: reportUnknownMemberType=false
# (onnx's stubs leave a type parameter open)

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from benchmarks import machine, reports
from benchmarks.broker import Broker
from benchmarks.contenders import Command, Contender, Place, our_program, our_settings
from benchmarks.model import NAME, manifest
from benchmarks.model import build as perceptron
from benchmarks.published import Published
from benchmarks.trial import Trial, trial
from benchmarks.usage import Sampler
from benchmarks.visible import Seconds, percentiles
from chimera.cli.kafka.server import EmbeddedKafka
from chimera.cli.stack.ports import free_port
from chimera.cli.watching import scrape
from chimera.schemas.model_state import LiveVersion

QUIET_S = 6.0  # of each round, before the version is published
AFTER_S = 1.0  # the executor before retires
WARM_UP_S = 60.0  # a broker that has just started compiles itself for a minute, on half a processor
ROW = 256
KEYS = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
AIM = 1.5  # times the p99 before

Report = dict[str, Any]


@dataclass(frozen=True)
class Pace:
    rounds: int
    rate: float  # requests a second
    round_s: float  # the version has to answer by then


@dataclass(frozen=True)
class Change:
    """A version on its way; seconds on the monotonic clock."""

    published_s: float
    answers_s: float
    busy_s: float  # of all processors in between, whoever used them


class Case:
    """A node, its versions, and its own page of metrics."""

    def __init__(self, folder: Path, versions: int, mib: int) -> None:
        self.published = Published(folder / "published")
        self.port = free_port()
        self.live = [self._register(str(number + 1), mib) for number in range(versions)]

    def contender(self) -> Contender:
        return Contender("exactly_once", "exactly once", self._commands, ours=True)

    def say(self, place: Place, number: int) -> int:
        before = self.live[number - 1 : number]
        return self.published.say(place, NAME, self.live[number], before=tuple(before))

    def await_revision(self, revision: int, until_s: float) -> float:
        """When the node says that it answers with it."""
        while time.monotonic() < until_s:
            page, _ = scrape.pages([f"http://127.0.0.1:{self.port}/metrics"])
            if page.revisions.get(NAME, 0) >= revision:
                return time.monotonic()
            time.sleep(0.25)  # a page of metrics takes the node some milliseconds
        raise TimeoutError(f"revision {revision} does not answer in time")

    def _register(self, version: str, mib: int) -> LiveVersion:
        return self.published.register(manifest(version), with_table(int(version), mib))

    def _commands(self, place: Place) -> list[Command]:
        env = our_settings(place) | self.published.environment
        env |= {
            "CHIMERA_SERVING__EXECUTORS": "1",
            "CHIMERA_OBSERVABILITY__METRICS_PORT": str(self.port),
            "CHIMERA_STACK__DIR": str(place.folder / "stack"),
        }
        return [Command([*our_program(), "node"], env)]


def with_table(seed: int, mib: int) -> bytes:
    """The benchmarks' perceptron; a row of a table, chosen by the input, is added to its first layer."""
    model = onnx.load_from_string(perceptron())
    rows = max(1, (mib << 20) // (4 * ROW))
    drawn = np.random.default_rng(seed).standard_normal((rows, ROW), dtype=np.float32)
    graph = model.graph
    graph.initializer.extend(
        [
            numpy_helper.from_array(drawn, "table"),
            numpy_helper.from_array(np.array([0]), "first"),
        ]
    )
    graph.node[0].output[0] = "h0_bare"
    added = [
        helper.make_node("Gather", ["x", "first"], ["pixel"], axis=1),
        helper.make_node("Cast", ["pixel"], ["row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "row"], ["rows"]),
        helper.make_node("Squeeze", ["rows", "axis"], ["row_of"]),
        helper.make_node("Add", ["h0_bare", "row_of"], ["h0"]),
    ]
    graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    nodes = [graph.node[0], *added, *graph.node[1:]]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def play(case: Case, one: Trial, pace: Pace) -> Report:
    """One node, all rounds."""
    place, rounds, rate = one.place, pace.rounds, pace.rate
    one.make_topics()
    case.say(place, 0)
    running = one.start()
    one.await_probes(running)
    count, start_s = int(rate * (WARM_UP_S + rounds * pace.round_s)), time.monotonic() + 2.0
    kept = place.folder / "received.npy"
    loop = one.open_loop(count, start_s, rate, warmup_s=WARM_UP_S, keep=kept)
    changes: list[Change] = []
    with one.sampled(running, more={"harness": [os.getpid()]}) as sampler:
        for number in range(rounds):
            publish_s = start_s + WARM_UP_S + number * pace.round_s + QUIET_S
            time.sleep(max(0.0, publish_s - time.monotonic()))
            began, published_s = _busy_s(), time.monotonic()
            limit_s = publish_s + pace.round_s - QUIET_S - AFTER_S
            answers_s = case.await_revision(case.say(place, number + 1), limit_s)
            busy_s = _busy_s() - began
            changes.append(Change(published_s, answers_s, busy_s))
        report = loop(running)
    due_s = start_s + np.arange(count) / rate
    seen_ms, appended_ms = (np.load(kept) - due_s) * 1e3
    found = [_round(due_s, (seen_ms, appended_ms), one, sampler) for one in changes]
    return {
        "lost": report["lost"],
        "repeated": report["repeated"],
        "producer_late_ms": report["producer"]["late_ms"],
        "cpu_share": report["contender_cpu_share"],
        "raw": found,
        **_figures(found),
    }


def _round(
    due_s: Seconds, latencies: tuple[Seconds, Seconds], change: Change, sampler: Sampler
) -> Report:
    published_s, ended_s = change.published_s, change.answers_s + AFTER_S
    before = (due_s >= published_s - QUIET_S + AFTER_S) & (due_s < published_s)
    during = (due_s >= published_s) & (due_s < ended_s)
    took_s = change.answers_s - published_s
    span = published_s, change.answers_s
    ours_s = sum(sampler.cpu_between(root, *span) for root in ("contender", "broker", "harness"))
    return {
        "load_s": round(took_s, 3),
        **{
            f"{when}{stage}": percentiles(latency_ms[chosen & ~np.isnan(latency_ms)])
            for stage, latency_ms in zip(("", "_until_append"), latencies, strict=True)
            for when, chosen in (("before", before), ("while", during))
        },
        "our_processors": round(ours_s / took_s, 2),
        "other_processors": round(max(0.0, change.busy_s - ours_s) / took_s, 2),
    }


def _figures(rounds: list[Report]) -> Report:
    """Medians of the rounds; the ratio is each round's own, so that a slow minute slows both."""

    def median(when: str, key: str) -> float:
        return round(float(statistics.median(one[when][key] for one in rounds)), 2)

    ratios = [one["while"]["p99_ms"] / one["before"]["p99_ms"] for one in rounds]
    return {
        "before": {key: median("before", key) for key in KEYS},
        "while": {key: median("while", key) for key in KEYS},
        "p99_ratio": round(statistics.median(ratios), 2),
        "p99_ratios": [round(one, 2) for one in ratios],
        "load_s": round(statistics.median(one["load_s"] for one in rounds), 2),
    }


def _busy_s() -> float:
    """Seconds of all processors that anybody used since the machine started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def run(pace: Pace, mib: int, console: Console) -> Report:
    with tempfile.TemporaryDirectory(prefix="chimera-loading-") as folder, EmbeddedKafka() as kafka:
        broker, work = Broker(kafka.bootstrap), Path(folder)
        console.print("registering", style="dim")
        case = Case(work, pace.rounds + 1, mib)
        console.print(f"{pace.rounds} rounds of {pace.round_s:g} s", style="dim")
        with trial(broker, case.contender(), models_dir=work / "none", work=work) as one:
            found = play(case, one, pace)
        head = {"kind": "loading", **asdict(pace), "mib": mib, "aim": AIM}
        return {**head, "machine": machine.describe(broker), **found}


def show(report: Report, console: Console) -> None:
    console.print(machine.headline(report["machine"]), highlight=False)
    table = Table("", *(key.removesuffix("_ms") + " ms" for key in KEYS))
    for when in ("before", "while"):
        table.add_row(when, *(f"{report[when][key]:.1f}" for key in KEYS))
    console.print(table)
    told = f"p99 while loading: {report['p99_ratio']:.2f} times (aim {AIM}), rounds {report['p99_ratios']}"
    others = [one["other_processors"] for one in report["raw"]]
    console.print(told, f"lost {report['lost']}, repeated {report['repeated']}", sep="; ")
    console.print(f"a load took {report['load_s']} s; others' processors meanwhile: {others}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="versions that come")
    parser.add_argument("--rate", type=float, default=1_000.0, help="requests a second")
    parser.add_argument("--round-s", type=float, default=16.0, help="more on a busy machine")
    parser.add_argument("--mib", type=int, default=32, help="of a version")
    reports.add_options(parser, "loading")
    given = parser.parse_args()
    pace = Pace(given.rounds, given.rate, given.round_s)
    report = run(pace, given.mib, Console(stderr=True))
    options = f"--rounds {given.rounds} --rate {given.rate:g}"
    options += f" --round-s {given.round_s:g} --mib {given.mib}"
    reports.write(report, "loading", options, given)
    show(report, Console())


if __name__ == "__main__":
    main()
