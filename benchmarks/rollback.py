"""How soon a rollback by hand is visible: one command, until the version before answers again.

    python -m benchmarks.rollback [--rounds 10] [--rate 1000] [--json FILE] [--save]

A node and its controller follow a registry under a steady stream. In each round `chimera models promote`
gives the second version all traffic, and `chimera models rollback` takes it back. Times go until a result
of the first version is read under `read_committed`: `command` from the start of that process, `record`
from when the broker had the command, and `withdrawn` from there until the last result of the second one.
"""

# pyright: reportUnknownMemberType=false
# (confluent-kafka's functions are typed in part)

import argparse
import asyncio
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

from benchmarks import machine, model, reports
from benchmarks.broker import QUIET, Broker
from benchmarks.contenders import Command, Contender, Place, our_program, our_settings
from benchmarks.environments import ROOT
from benchmarks.loading import WARM_UP_S, with_table
from benchmarks.trial import Trial, trial
from chimera.cli.kafka.server import EmbeddedKafka
from chimera.cli.postgres.config import APPLICATION
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.errors import RequestError
from chimera.schemas.model_commands import RollBackModel, decode_command
from chimera.schemas.model_settings import KeysSettings
from chimera.stores import keys, schema
from chimera.workers.packing import write_folder

FIRST, SECOND = "1", "2"
TURN_S = 6.0  # from a promotion to the rollback, and from there to the next promotion
WITHIN_S = 60.0
IN_A_ROW = 50
MIB = 8  # of a version
AIM_S = 2.0
KEYS = ("command_s", "record_s", "withdrawn_s")

Report = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """One result, when it was read."""

    at_s: float  # of the clock on the wall
    version: str


@dataclass(frozen=True)
class Rollback:
    """Seconds of the clock on the wall."""

    began_s: float  # its process
    recorded_s: float  # its command


class Answers:
    """A context: reads along which version answers."""

    def __init__(self, place: Place) -> None:
        self.read: list[Answer] = []
        self._consumer = _consumer(place.bootstrap, "answers")
        self._topic, self._partitions = place.results, range(place.partitions)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="answers", daemon=True)

    def __enter__(self) -> Self:
        where = [TopicPartition(self._topic, one, OFFSET_END) for one in self._partitions]
        self._consumer.assign(where)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def wait(self, version: str) -> None:
        """Until it answers everything. Raises TimeoutError."""
        until_s = time.monotonic() + WITHIN_S
        while {one.version for one in self.read[-IN_A_ROW:]} != {version}:
            if time.monotonic() > until_s:
                raise TimeoutError(f"version {version} does not answer within {WITHIN_S:.0f} s")
            time.sleep(0.05)

    def _read(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(500, 0.02):
                now_s = time.time()
                self.read.append(
                    Answer(now_s, orjson.loads(message.value() or b"")["model_version"])
                )


def measured(answers: Sequence[Answer], rollbacks: Sequence[Rollback]) -> list[dict[str, float]]:
    """`KEYS` of each rollback; what is read until half a turn after it belongs to it.

    Raises:
        ValueError: the first version did not answer after one of them.
    """
    found: list[dict[str, float]] = []
    for one in rollbacks:
        turn = [at for at in answers if one.began_s <= at.at_s < one.began_s + TURN_S / 2]
        restored = [at.at_s for at in turn if at.version == FIRST]
        withdrawn = [at.at_s for at in turn if at.version == SECOND]
        if not restored:
            raise ValueError(f"no answer of version {FIRST} after the rollback at {one.began_s}")
        found.append(
            {
                "command_s": round(restored[0] - one.began_s, 3),
                "record_s": round(restored[0] - one.recorded_s, 3),
                "withdrawn_s": round(max(withdrawn, default=one.recorded_s) - one.recorded_s, 3),
            }
        )
    return found


class Case:
    """A registry with two versions that are compiled, and an operator's commands."""

    def __init__(self, folder: Path, dsn: str) -> None:
        held = KeysSettings(signing_file=folder / "signing.pem")
        keys.create(held)
        self._folder = folder
        self._environment = {
            "CHIMERA_SERVING__FOLLOW": "true",
            "CHIMERA_SERVING__EXECUTORS": "1",
            "CHIMERA_POSTGRES__DSN": dsn,
            "CHIMERA_KEYS__SIGNING_FILE": str(held.signing_file),
            "CHIMERA_ARTIFACTS__URL": str(folder / "store"),
            "CHIMERA_ARTIFACTS__CACHE_DIR": str(folder / "cache"),
            "CHIMERA_STACK__DIR": str(folder / "stack"),
        }

    def contender(self) -> Contender:
        return Contender("exactly_once", "exactly once", self._commands, ours=True)

    def release(self, place: Place, files: Mapping[str, bytes]) -> None:
        """Both versions, registered and compiled; the first one is live. `files`: ONNX, of each."""
        for version in (FIRST, SECOND):
            folder = self._folder / f"upload-{version}"
            write_folder(folder, model.manifest(version), {"model.onnx": files[version]})
            self.order(place, "register", str(folder))
            self.order(place, "compile", model.NAME, version, "--tiers", "onnx-cpu")
        self.order(place, "promote", model.NAME, FIRST, "--no-watch")

    def order(self, place: Place, *arguments: str) -> None:
        """`chimera models ...`, as an operator gives it. Raises RuntimeError: it failed."""
        done = subprocess.run(
            [*our_program(), "models", *arguments],
            env=os.environ | self._settings(place),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"chimera models {' '.join(arguments)}: {done.stdout}{done.stderr}")

    def _settings(self, place: Place) -> dict[str, str]:
        return our_settings(place) | self._environment

    def _commands(self, place: Place) -> list[Command]:
        return [Command([*our_program(), "node"], self._settings(place))]


def play(case: Case, one: Trial, rounds: int, rate: float) -> Report:
    """One node, all rounds."""
    place = one.place
    one.make_topics()
    running = one.start()
    case.release(place, {one: with_table(int(one), MIB) for one in (FIRST, SECOND)})
    one.await_probes(running)
    count, start_s = int(rate * (WARM_UP_S + (2 * rounds + 1) * TURN_S)), time.monotonic() + 2.0
    loop = one.open_loop(count, start_s, rate, warmup_s=WARM_UP_S)
    began_s: list[float] = []
    with Answers(place) as answers, one.sampled(running):
        for number in range(rounds):
            _sleep_until(start_s + WARM_UP_S + 2 * number * TURN_S)
            case.order(place, "promote", model.NAME, SECOND, "--no-watch")
            answers.wait(SECOND)
            _sleep_until(start_s + WARM_UP_S + (2 * number + 1) * TURN_S)
            began_s.append(time.time())
            case.order(place, "rollback", model.NAME, "--reason", "measured")
            answers.wait(FIRST)
        report = loop(running)
    taken = [Rollback(*both) for both in zip(began_s, recorded(place), strict=True)]
    raw = measured(answers.read, taken)
    return {
        "lost": report["lost"],
        "repeated": report["repeated"],
        "latency": {key: report[key] for key in ("p50_ms", "p95_ms", "p99_ms")},
        **{key: _summary([each[key] for each in raw]) for key in KEYS},
        "raw": raw,
    }


def recorded(place: Place) -> list[float]:
    """When the broker had each rollback, by its own clock, which is this machine's."""
    consumer = _consumer(place.bootstrap, "commands")
    consumer.assign([TopicPartition(f"{place.prefix}models.commands", 0, OFFSET_BEGINNING)])
    found: list[float] = []
    while messages := consumer.consume(500, 2.0):
        for message in messages:
            try:
                command = decode_command(message.value() or b"")
            except RequestError:
                continue
            if isinstance(command, RollBackModel):
                found.append(message.timestamp()[1] / 1e3)
    consumer.close()
    return found


def _consumer(bootstrap: str, group: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"rollback-{group}",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 5,
            **QUIET,
        }
    )


def _summary(seconds: Sequence[float]) -> dict[str, float]:
    return {"median": round(statistics.median(seconds), 3), "max": max(seconds)}


def _sleep_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.monotonic()))


def run(rounds: int, rate: float, console: Console) -> Report:
    with (
        tempfile.TemporaryDirectory(prefix="chimera-rollback-") as folder,
        EmbeddedPostgres() as postgres,
        EmbeddedKafka() as kafka,
    ):
        asyncio.run(schema.upgrade(postgres.owner_dsn, APPLICATION))
        broker, work = Broker(kafka.bootstrap), Path(folder)
        case = Case(work, postgres.dsn)
        console.print(f"{rounds} rounds of {2 * TURN_S:g} s", style="dim")
        with trial(broker, case.contender(), models_dir=work / "none", work=work) as one:
            found = play(case, one, rounds, rate)
        head = {"kind": "rollback", "rounds": rounds, "rate": rate, "mib": MIB, "aim_s": AIM_S}
        return {**head, "machine": machine.describe(broker), **found}


def show(report: Report, console: Console) -> None:
    console.print(machine.headline(report["machine"]), highlight=False)
    table = Table("a rollback, until results tell of it", "median s", "max s")
    for key, told in zip(
        KEYS,
        (
            "from the command's process: the version before answers",
            "from the command's record: the version before answers",
            "from the command's record: the version withdrawn was last seen",
        ),
        strict=True,
    ):
        table.add_row(told, f"{report[key]['median']:.2f}", f"{report[key]['max']:.2f}")
    console.print(table)
    console.print(f"aim {AIM_S:g} s; lost {report['lost']}, repeated {report['repeated']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="rollbacks")
    parser.add_argument("--rate", type=float, default=1_000.0, help="requests a second")
    reports.add_options(parser, "rollback")
    given = parser.parse_args()
    report = run(given.rounds, given.rate, Console(stderr=True))
    reports.write(report, "rollback", f"--rounds {given.rounds} --rate {given.rate:g}", given)
    show(report, Console())


if __name__ == "__main__":
    main()
