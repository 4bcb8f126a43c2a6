"""A burst while a promotion is watched: it counts against a version that is slower, and no other.

    python -m benchmarks.bursting [--rate 400] [--burst 150000] [--json FILE] [--save]

Twice on a fresh broker: a steady stream, a promotion with a watch of a minute, and in that minute three
bursts. The second version is as fast as the first one once, and then has ten times as many layers. Callers
wait a hundred times as long as before in both; what the controller makes of it is read from `models.events`.
"""

# pyright: reportUnknownMemberType=false
# (confluent-kafka's functions are typed in part)

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

from benchmarks import machine, model, reports
from benchmarks.broker import QUIET, Broker
from benchmarks.contenders import Place
from benchmarks.load import Paced, fill
from benchmarks.rollback import FIRST, SECOND, Case
from benchmarks.trial import Trial, trial
from chimera.cli.kafka.server import EmbeddedKafka
from chimera.cli.postgres.config import APPLICATION
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.errors import RequestError
from chimera.schemas.model_events import WatchJudged, decode_event
from chimera.stores import schema

BEFORE_S, WATCH_S = 70.0, 60  # what was before is known for as long as a watch lasts
PAUSE_S, BURSTS = 4.0, 3
WITHIN_S = 60.0  # after the watch
SLOWER = (model.LAYERS[0], *(256 for _ in range(30)), model.LAYERS[-1])
SECONDS = {"as fast": model.LAYERS, "slower": SLOWER}
"""Layers of the second version in each play."""

Report = dict[str, Any]


def play(case: Case, one: Trial, second: bytes, rate: float, burst: int) -> Report:
    """What was judged. Raises TimeoutError: nothing."""
    place = one.place
    one.make_topics()
    running = one.start()
    case.release(place, {FIRST: model.build(), SECOND: second})
    one.await_probes(running)
    with _stream(place, rate):
        time.sleep(BEFORE_S)
        case.order(place, "promote", model.NAME, SECOND, "--watch", str(WATCH_S))
        until_s = time.monotonic() + WATCH_S + WITHIN_S
        for _ in range(BURSTS):
            time.sleep(PAUSE_S)
            fill(place.bootstrap, place.requests, burst)
        judged = _judged(place, until_s)
    return {
        "verdict": judged.verdict,
        "reason": judged.reason,
        "requests": judged.candidate.requests,
        "p99_ms": judged.candidate.p99_us / 1e3,
        "before_p99_ms": (judged.previous.p99_us if judged.previous else 0) / 1e3,
    }


@contextmanager
def _stream(place: Place, rate: float) -> Generator[None]:
    """A steady one meanwhile."""
    is_over = threading.Event()

    def send() -> None:
        while not is_over.is_set():
            Paced(place.bootstrap, place.requests).run(int(rate), rate, time.monotonic())

    thread = threading.Thread(target=send, name="stream", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _judged(place: Place, until_s: float) -> WatchJudged:
    consumer = Consumer(
        {
            "bootstrap.servers": place.bootstrap,
            "group.id": "bursting",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            **QUIET,
        }
    )
    try:
        consumer.assign([TopicPartition(f"{place.prefix}models.events", 0, OFFSET_BEGINNING)])
        while time.monotonic() < until_s:
            for message in consumer.consume(100, 1.0):
                try:
                    event = decode_event(message.value() or b"")
                except RequestError:
                    continue
                if isinstance(event, WatchJudged):
                    return event
    finally:
        consumer.close()
    raise TimeoutError("the watch was not judged")


def run(rate: float, burst: int, console: Console) -> Report:
    found: Report = {"kind": "bursting", "rate": rate, "burst": burst, "bursts": BURSTS}
    for name, layers in SECONDS.items():
        console.print(f"{name}: {BEFORE_S + WATCH_S:g} s", style="dim")
        with (
            tempfile.TemporaryDirectory(prefix="chimera-bursting-") as folder,
            EmbeddedPostgres() as postgres,
            EmbeddedKafka() as kafka,
        ):
            asyncio.run(schema.upgrade(postgres.owner_dsn, APPLICATION))
            broker, work = Broker(kafka.bootstrap), Path(folder)
            case = Case(work, postgres.dsn)
            with trial(broker, case.contender(), models_dir=work / "none", work=work) as one:
                found[name] = play(case, one, model.build(layers), rate, burst)
            found["machine"] = machine.describe(broker)
    return found


def show(report: Report, console: Console) -> None:
    console.print(machine.headline(report["machine"]), highlight=False)
    table = Table("second version", "p99 before", "p99 ms", "requests", "verdict")
    for name in SECONDS:
        one = report[name]
        table.add_row(
            name,
            f"{one['before_p99_ms']:.1f}",
            f"{one['p99_ms']:.1f}",
            f"{one['requests']:,}",
            one["verdict"],
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=400.0, help="requests a second, steadily")
    parser.add_argument("--burst", type=int, default=150_000, help="requests of each burst")
    reports.add_options(parser, "bursting")
    given = parser.parse_args()
    report = run(given.rate, given.burst, Console(stderr=True))
    options = f"--rate {given.rate:g} --burst {given.burst}"
    reports.write(report, "bursting", options, given)
    show(report, Console())


if __name__ == "__main__":
    main()
