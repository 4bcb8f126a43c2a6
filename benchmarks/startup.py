"""How soon a restarted node answers, on the tier that it serves with: ONNX Runtime's, and native code.

    python -m benchmarks.startup [--rounds 5] [--json FILE] [--save]

A request waits in Kafka while no node runs; time goes from the node's `exec` to its result under
`read_committed`. The node follows `models.state`, and what it serves lies there from an earlier run,
as after any restart. Seconds of the processor, of the node and its executors, stand beside those of
the clock, which a busy machine makes longer. With --save the raw figures go to docs/results/startup.json.
"""

# pyright: reportUnknownMemberType=false
# (confluent-kafka's functions are typed in part)

import argparse
import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import psutil
from confluent_kafka import Consumer, Producer, TopicPartition
from rich.console import Console
from rich.table import Table

from benchmarks import reports
from benchmarks.broker import QUIET, Broker
from benchmarks.machine import describe, headline
from benchmarks.tiers import ALLOWED, write_digits
from chimera.cli.kafka.server import EmbeddedKafka
from chimera.cli.stack.stack import node_command, sync_topics
from chimera.schemas.model_names import key
from chimera.schemas.model_settings import ArtifactsSettings, CompilingSettings, KeysSettings
from chimera.schemas.model_state import LiveVersion, ModelState, TierArtifact, encode_state
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.settings import Settings
from chimera.schemas.signing import SigningKey, Trusted
from chimera.schemas.tiers import BY_NAME
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.versions import Versions
from chimera.workers.compiling.pipeline import Targets, compile
from chimera.workers.inspection.rules import rules
from chimera.workers.packing import pack
from chimera.workers.vouching import sign_program

TIERS = {"onnx-cpu": 3.0, "torch-compiled-cpu": 10.0}  # aims: seconds to the first result
WITHIN_S = 120.0
STAGES = ("executor_started", "node_ready")

Report = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A broker, and a folder with all that a node needs."""

    bootstrap: str
    folder: Path

    @property
    def settings(self) -> Settings:
        """As the environment says it to the node."""
        folder = self.folder
        return Settings(
            kafka=KafkaSettings(bootstrap=self.bootstrap, partitions=1),
            keys=KeysSettings(signing_file=folder / "signing.pem", trusted_dir=folder / "trusted"),
            artifacts=ArtifactsSettings(
                url=str(folder / "store"), cache_dir=folder / "cache", definitions=ALLOWED
            ),
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "CHIMERA_KAFKA__PARTITIONS": "1",
            "CHIMERA_KEYS__SIGNING_FILE": str(self.folder / "signing.pem"),
            "CHIMERA_KEYS__TRUSTED_DIR": str(self.folder / "trusted"),
            "CHIMERA_ARTIFACTS__URL": str(self.folder / "store"),
            "CHIMERA_ARTIFACTS__CACHE_DIR": str(self.folder / "cache"),
            "CHIMERA_SERVING__FOLLOW": "true",
            "CHIMERA_STACK__REGISTRY": "false",
            "CHIMERA_STACK__DIR": str(self.folder / "stack"),
            "CHIMERA_OBSERVABILITY__LOG_FORMAT": "json",
            "CHIMERA_OBSERVABILITY__METRICS_PORT": "0",
        }


def prepare(place: Place) -> dict[str, LiveVersion]:
    """The digits' perceptron, registered and compiled: by tier, what a controller would publish."""
    settings = place.settings
    key = keys.create(settings.keys)
    folder = write_digits(place.folder / "upload")
    packed = pack(folder, key, rules(settings.artifacts, Trusted([key.public])))
    store = Artifacts(settings.artifacts.url, settings.artifacts.cache_dir)
    digest = Versions(store).add(folder, packed.raw, packed.signature)
    out = place.folder / "out"
    targets = Targets(tuple(TIERS), definitions=ALLOWED)
    compile(folder, targets, out, CompilingSettings(batch_sizes=(1,), measure_s=0.2, int8=False))
    return {
        tier: LiveVersion(
            version="1", sha256=digest, weight=1.0, tiers=(_stored(tier, out, store, key),)
        )
        for tier in TIERS
    }


def _stored(tier: str, out: Path, store: Artifacts, key: SigningKey) -> TierArtifact:
    name = BY_NAME[tier].file
    assert name is not None  # both are compiled
    path = out / tier / name
    beside: dict[str, str] = {}
    if BY_NAME[tier].native:
        beside[f"{name}.sig"] = store.put(sign_program(path, key)).sha256
    return TierArtifact(tier, store.put(path).sha256, {1: 100.0}, beside)


class Traffic:
    """One request at a time, and the wait for its result."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, **QUIET})
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "startup",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 5,
                **QUIET,
            }
        )
        self._consumer.assign([TopicPartition("inference.results", 0, 0)])

    def deploy(self, revision: int, version: LiveVersion) -> None:
        state = ModelState(
            tenant="default",
            model="digits",
            revision=revision,
            changed_ms=int(time.time() * 1000),
            command_id=f"startup-{revision}",
            live=(version,),
        )
        self._send("models.state", encode_state(state), key("default", "digits"))

    def ask(self) -> None:
        tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}
        self._send(
            "inference.requests", orjson.dumps({"model_name": "digits", "inputs": [tensor]}), b"k"
        )

    def answer(self) -> str:
        """The tier that answered."""
        given_up_s = time.monotonic() + WITHIN_S
        while time.monotonic() < given_up_s:
            record = self._consumer.poll(0.005)
            if record is None or record.error():
                continue
            found: dict[str, Any] = dict(record.headers() or [])
            assert "chimera-tier" in found, (found, record.value())
            return str(found["chimera-tier"], "utf-8")
        raise TimeoutError(f"no result within {WITHIN_S:g} s")

    def close(self) -> None:
        self._consumer.close()

    def _send(self, topic: str, value: bytes, record_key: bytes) -> None:
        self._producer.produce(topic, value, record_key)
        assert self._producer.flush(10) == 0


def start_once(place: Place, traffic: Traffic, tier: str) -> Report:
    """One restart: seconds until the first result, and what it took of the processor."""
    traffic.ask()
    log = place.folder / "node.log"
    with log.open("wb") as stream:
        started_s, started_at = time.monotonic(), time.time()
        node = subprocess.Popen(
            node_command(place.bootstrap, place.folder / "node.ready"),
            env=place.environment,
            stdout=stream,
            stderr=stream,
        )
    try:
        found = traffic.answer()
        wall_s = time.monotonic() - started_s
        cpu = {name: round(used, 3) for name, used in _cpu_s(node.pid).items()}
    finally:
        node.terminate()
        node.wait(60)
    assert found == tier, f"{found} answered, not {tier}"
    stages = {name: round(at - started_at, 3) for name, at in _stages(log).items()}
    return {"first_result_s": round(wall_s, 3), "cpu_s": cpu, "stages_s": stages}


def _cpu_s(pid: int) -> dict[str, float]:
    node = psutil.Process(pid)
    own = node.cpu_times()
    children = [child.cpu_times() for child in node.children(recursive=True)]
    return {
        "node": own.user + own.system,
        "executors": sum(one.user + one.system for one in children),
        "ended_children": own.children_user + own.children_system,
    }


def _stages(log: Path) -> dict[str, float]:
    """When the node's log says that it got so far, since the epoch."""
    found: dict[str, float] = {}
    for line in log.read_bytes().splitlines():
        try:
            said = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if said.get("event") in STAGES:
            at = datetime.fromisoformat(said["timestamp"]).timestamp()
            found.setdefault(said["event"], at)
    return found


def run(place: Place, rounds: int, console: Console) -> Report:
    console.print("training, registering and compiling", style="dim")
    versions = prepare(place)
    asyncio.run(sync_topics(place.settings, place.bootstrap, change=True))
    traffic = Traffic(place.bootstrap)
    reports: dict[str, list[Report]] = {}
    for revision, (tier, version) in enumerate(versions.items(), 1):
        traffic.deploy(revision, version)
        start_once(place, traffic, tier)  # brings the files; no restart yet
        reports[tier] = []
        for number in range(rounds):
            reports[tier].append(start_once(place, traffic, tier))
            console.print(f"{tier} {number + 1}: {reports[tier][-1]}", style="dim")
    traffic.close()
    machine = describe(Broker(place.bootstrap))
    return {"kind": "startup", "rounds": rounds, "machine": machine, "aims_s": TIERS, **reports}


def show(report: Report, console: Console) -> None:
    console.print(headline(report["machine"]), highlight=False)
    table = Table("tier", "first result s", "worst", "aim", "processor s: node", "executors")
    for tier, aim in TIERS.items():
        rounds = report[tier]
        walls = [one["first_result_s"] for one in rounds]
        used = [
            statistics.median(one["cpu_s"][who] for one in rounds) for who in ("node", "executors")
        ]
        table.add_row(
            tier,
            f"{statistics.median(walls):.2f}",
            f"{max(walls):.2f}",
            f"{aim:g}",
            *(f"{one:.2f}" for one in used),
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    reports.add_options(parser, "startup")
    parser.add_argument("--rounds", type=int, default=5, help="restarts of each tier")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chimera-startup-") as folder, EmbeddedKafka() as kafka:
        report = run(Place(kafka.bootstrap, Path(folder)), given.rounds, Console(stderr=True))
    reports.write(report, "startup", f"--rounds {given.rounds}", given)
    show(report, Console())


if __name__ == "__main__":
    main()
