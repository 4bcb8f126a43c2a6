"""Who takes part: ours in its two guarantees, and the rivals, each as the processes it runs in.

A contender reads the requests topic of a trial from its beginning and writes the results topic,
until it is stopped. Slow ones get a smaller share of a sitting's requests, named in the report.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.environments import BYTEWAX, MLSERVER, QUIX, Environment, own_interpreter
from benchmarks.load import Headers

PORTS_FROM = 24_300  # of Bytewax's workers among themselves, on loopback


@dataclass(frozen=True)
class Place:
    """Where a trial happens."""

    bootstrap: str
    prefix: str  # of all topics of the trial, and its consumer group
    partitions: int
    models_dir: Path
    folder: Path  # for logs and a contender's own files

    @property
    def requests(self) -> str:
        return f"{self.prefix}inference.requests"

    @property
    def results(self) -> str:
        return f"{self.prefix}inference.results"

    @property
    def group(self) -> str:
        return f"{self.prefix}group"

    @property
    def model(self) -> Path:
        return self.models_dir / "digits" / "1" / "model.onnx"


@dataclass(frozen=True)
class Command:
    """One process to start."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Contender:
    name: str
    promises: str  # its guarantee as it runs here
    commands: Callable[[Place], list[Command]]
    share: float = 1.0  # of the sitting's requests
    environment: Environment | None = None
    burst: bool = False  # cannot start on a backlog: is started first, then gets its requests
    headers: Headers = ()  # that it needs on every request
    ours: bool = False  # its topics are made by `chimera topics sync`
    answers: bool = True  # requests; else it has turns and a figure of its own, as a sink has
    partitions: int = 4

    @property
    def rival(self) -> str:
        """The name without the number of processes: what best-of is taken over."""
        return self.name.partition(" x")[0]


def script(module: str, processes: int = 1, **more: str) -> Callable[[Place], list[Command]]:
    """Processes of one of our own rival scripts, which share the partitions out."""

    def commands(place: Place) -> list[Command]:
        python = str(own_interpreter())
        return [
            Command(
                [python, "-m", f"benchmarks.rivals.{module}", *arguments(place, i, processes, more)]
            )
            for i in range(processes)
        ]

    return commands


def arguments(place: Place, index: int, processes: int, more: dict[str, str]) -> list[str]:
    """The command line that `benchmarks.rivals.options` reads."""
    found = ["--bootstrap", place.bootstrap, "--requests", place.requests]
    found += ["--results", place.results, "--group", place.group, "--model", str(place.model)]
    found += ["--partitions", str(place.partitions), "--share", f"{index}/{processes}"]
    for name, value in more.items():
        found += ["--set", f"{name}={value}"]
    return found


def bytewax(processes: int) -> Callable[[Place], list[Command]]:
    def commands(place: Place) -> list[Command]:
        told = ",".join(
            repr(str(one)) for one in (place.bootstrap, place.requests, place.results, place.model)
        )
        run = [str(BYTEWAX.interpreter()), "-m", "bytewax.run"]
        flow = f"benchmarks.rivals.bytewax_flow:flow({told})"
        if processes == 1:
            return [Command([*run, flow])]
        addresses = ";".join(f"127.0.0.1:{PORTS_FROM + i}" for i in range(processes))
        return [Command([*run, flow, "-i", str(i), "-a", addresses]) for i in range(processes)]

    return commands


def quix(processes: int) -> Callable[[Place], list[Command]]:
    def commands(place: Place) -> list[Command]:
        run = [str(QUIX.interpreter()), "-m", "benchmarks.rivals.quix_app"]
        state = {"Quix__State__Dir": str(place.folder / "state")}
        return [
            Command([*run, *arguments(place, i, processes, {})], state) for i in range(processes)
        ]

    return commands


def mlserver(place: Place) -> list[Command]:
    folder = place.folder / "mlserver"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "debug": False,
        "parallel_workers": 0,
        "host": "127.0.0.1",
        "http_port": PORTS_FROM + 10,
        "grpc_port": PORTS_FROM + 11,
        "metrics_endpoint": None,
        "kafka_enabled": True,
        "kafka_servers": place.bootstrap,
        "kafka_topic_input": place.requests,
        "kafka_topic_output": place.results,
    }
    model = {
        "name": "digits",
        "implementation": "benchmarks.rivals.mlserver_model.Digits",
        "max_batch_size": 256,
        "max_batch_time": 0.01,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    program = MLSERVER.interpreter().with_name("mlserver")
    return [Command([str(program), "start", str(folder)], {"BENCH_MODEL": str(place.model)})]


def node(
    guarantee: str, *, executors: int = 1, nodes: int = 1, more: dict[str, str] | None = None
) -> Callable[[Place], list[Command]]:
    """`chimera node` processes, told by settings alone."""

    def commands(place: Place) -> list[Command]:
        env = our_settings(place) | {
            "CHIMERA_SERVING__GUARANTEE": guarantee,
            "CHIMERA_SERVING__EXECUTORS": str(executors),
            **(more or {}),
        }
        return [Command([*our_program(), "node"], env) for _ in range(nodes)]

    return commands


def our_program() -> list[str]:
    return [str(own_interpreter()), "-m", "chimera.cli"]


def our_settings(place: Place) -> dict[str, str]:
    return {
        "CHIMERA_CONFIG": str(place.folder / "none.toml"),  # nobody's file in the working folder
        "CHIMERA_KAFKA__BOOTSTRAP": place.bootstrap,
        "CHIMERA_KAFKA__GROUP": place.group,
        "CHIMERA_KAFKA__TOPIC_PREFIX": place.prefix,
        "CHIMERA_KAFKA__PARTITIONS": str(place.partitions),
        "CHIMERA_STACK__DIR": str(place.folder / "stack"),  # where a node sits down
        "CHIMERA_SERVING__MODELS_DIR": str(place.models_dir),
        "CHIMERA_SERVING__DEVICES": '["cpu"]',
        "CHIMERA_OBSERVABILITY__LOG_LEVEL": "warning",
    }


def ours(executors: int = 2) -> list[Contender]:
    return [
        Contender(name, promise, node(name, executors=executors), ours=True)
        for name, promise in (
            ("exactly_once", "exactly once"),
            ("at_least_once", "at least once"),
        )
    ]


def rivals() -> list[Contender]:
    """Every rival, the hand-written loops first."""
    none = "none"
    return [
        Contender("loop_aiokafka x1", none, script("loop_aiokafka")),
        Contender("loop_aiokafka x2", none, script("loop_aiokafka", 2)),
        Contender("loop_confluent x1", none, script("loop_confluent")),
        Contender("loop_confluent x2", none, script("loop_confluent", 2)),
        Contender("txn_loop x1", "exactly once", script("loop_transactions")),
        Contender("txn_loop x2", "exactly once", script("loop_transactions", 2)),
        Contender("lanes_txn_loop x1", "exactly once", script("loop_transactions", shape="lanes")),
        Contender("bytewax x1", "none (no recovery store)", bytewax(1), environment=BYTEWAX),
        Contender("bytewax x2", "none (no recovery store)", bytewax(2), environment=BYTEWAX),
        Contender("quix x1", "at least once", quix(1), 0.2, QUIX),
        Contender("quix x2", "at least once", quix(2), 0.2, QUIX),
        Contender("faust_event x1", "loses on an error", script("faust_plain"), 0.05),
        Contender("faust_event x2", "loses on an error", script("faust_plain", 2), 0.05),
        Contender("faust_take x1", "loses on an error", script("faust_plain", mode="take"), 0.05),
        Contender(
            "faust_take x2", "loses on an error", script("faust_plain", 2, mode="take"), 0.05
        ),
        Contender(
            "mlserver",
            none,
            mlserver,
            0.02,
            MLSERVER,
            burst=True,
            headers=(("mlserver-model", b"digits"),),
        ),
    ]
