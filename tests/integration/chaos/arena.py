"""Everything of one campaign together: broker, topics, ledger, nodes, load, sampler, verdict.

Phases do their faults inside the context; then `settle`, and `verdict`. Seeds decide what is sent
and what is done; when the operating system runs whom is not in anybody's hand.
"""

import os
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import psutil
from confluent_kafka import KafkaException

from tests.integration.chaos import observe, observe_models
from tests.integration.chaos.broker import Broker
from tests.integration.chaos.cases import MAX_BYTES, Mix
from tests.integration.chaos.cluster import Cluster
from tests.integration.chaos.commands import Commands
from tests.integration.chaos.judge import Verdict, judge
from tests.integration.chaos.ledger import Ledger
from tests.integration.chaos.load import Load
from tests.integration.chaos.models import write_models
from tests.integration.chaos.nodes import CHIMERA, NODE, Supervisor, marked
from tests.integration.chaos.offsets import Sampler
from tests.integration.chaos.releases import VERSIONS, Releases

PARTITIONS = 4
SETTLE_WITHIN_S = 120.0
COMMAND_S = 60.0
POLL_S = 0.1
TOLD = ("lane_fenced", "node_fatal", "lane_halted", "lane_left_undone", "executor_died")
QUICK = {  # recovery waits for these; a deployment's are longer
    "CHIMERA_KAFKA__SESSION_TIMEOUT_MS": "3000",
    "CHIMERA_KAFKA__HEARTBEAT_INTERVAL_MS": "1000",
    "CHIMERA_KAFKA__REQUEST_TIMEOUT_MS": "8000",
    "CHIMERA_COMMIT__TRANSACTION_TIMEOUT_MS": "4000",
    "CHIMERA_FETCH__BLOCK_RECORDS": "4",  # loads are small here, and blocks are to be seen
}


class Arena:
    """A context: topics and ledger are fresh, nodes and load run from entering on."""

    def __init__(
        self,
        broker: Broker,
        prefix: str,
        *,
        seed: int,
        rate: float,
        nodes: int = 2,
        mix: Mix | None = None,
        environment: Mapping[str, str] | None = None,
        proxied: bool = False,
        registered: bool = False,
        command: Sequence[str] = NODE,
        compression: str = "none",
    ) -> None:
        """`environment`: of all nodes.

        `proxied`: they reach the broker through its proxy. `registered`: they follow a registry.
        """
        self.broker = broker
        self.seed = seed
        self.compression = compression
        self.rng = random.Random(seed)
        self.cluster = Cluster(broker.bootstrap, prefix, partitions=PARTITIONS, max_bytes=MAX_BYTES)
        self.folder = Path(tempfile.mkdtemp(prefix="chimera-chaos-"))
        self.ledger = Ledger(self.folder / "ledger.sqlite")
        models = self.folder / "models"
        write_models(models)
        self.environment = {
            **self.cluster.environment(),
            **QUICK,
            "CHIMERA_SERVING__MODELS_DIR": str(models),
            "CHIMERA_CONFIG": str(self.folder / "none.toml"),
            "CHIMERA_STACK__DIR": str(self.folder),
            "CHIMERA_AUDIT__OUTBOX_DIR": str(self.folder / "outbox"),
            "CHIMERA_CHAOS_RUN": str(self.folder),  # marks its processes
            **({"CHIMERA_KAFKA__BOOTSTRAP": broker.proxied} if proxied else {}),
            **(environment or {}),
        }
        self.releases = Releases(self.folder, self.cluster) if registered else None
        self.supervisor = Supervisor(self.folder, self.environment, command)
        self.load = self._producer(mix or Mix(), rate, compression)
        self._count = nodes
        self._began = 0.0
        self._unmet: list[str] = []
        self._missed: list[str] = []
        self._notes: dict[str, Any] = {}
        self._behind: dict[str, dict[int, int]] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # what was entered is left again if the rest cannot be
            stack.enter_context(self.ledger)
            stack.callback(self.cluster.offsets.close)
            self.cluster.create()
            if self.releases is not None:
                self._release(stack.enter_context(self.releases))
            stack.enter_context(self.supervisor)
            for _ in range(self._count):
                self.supervisor.add()
            stack.enter_context(Sampler(self.cluster.offsets, self.cluster.requests, self.ledger))
            stack.enter_context(self.load)
            self._stack = stack.pop_all()
        self._began = time.monotonic()
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: PYI036  # handed on as it comes
        self._stack.__exit__(*error)

    def _release(self, releases: Releases) -> None:
        """The first version is live before there is a node."""
        self.environment.update(releases.environment())  # the supervisor's too
        self.ledger.add("versions", list(releases.digests.items()))
        self.operator().give("deploy", VERSIONS[0])
        releases.lead_until_published(1)

    def _producer(self, mix: Mix, rate: float, compression: str = "none") -> Load:
        return Load(
            self.broker.bootstrap,
            self.ledger,
            self.cluster.requests,
            PARTITIONS,
            mix=mix,
            rate=rate,
            seed=self.seed,
            compression=compression,
        )

    # What phases see.

    @property
    def partitions(self) -> int:
        """Of the requests' topic, as the load knows them."""
        return self.load.partitions

    def committed(self) -> dict[int, int]:
        """The group's stable offsets in the requests' topic; -1 where it has none."""
        return self.cluster.offsets.committed(self.cluster.requests)

    def results(self) -> int:
        """How many results are visible now."""
        topic = self.cluster.catalogue.results.name
        return sum(len(batch) for batch in observe.records(self.broker.bootstrap, [topic]))

    def halted(self) -> Counter[tuple[str, int]]:
        """How often the lane of each topic and partition has halted."""
        events = (event for node in self.supervisor.nodes for event in node.events())
        return Counter(
            (event["topic"], event["partition"])
            for event in events
            if event.get("event") == "lane_halted"
        )

    def halts(self, partition: int) -> int:
        """How often a lane of this partition of the requests has."""
        return self.halted()[self.cluster.requests, partition]

    def wait_until_serving(self, within_s: float = 60.0) -> None:
        """Until every partition has an answered request."""
        until = time.monotonic() + within_s
        while not all(offset > 0 for offset in self.committed().values()):
            if time.monotonic() > until:
                raise AssertionError(f"no results within {within_s:.0f} s; see {self.folder}")
            time.sleep(POLL_S)

    def seconds_until_all_advance(self, within_s: float = 60.0) -> float:
        """How long until every partition of the requests has committed something new."""
        began = time.monotonic()
        before: dict[int, int] = {}
        while time.monotonic() - began < within_s:
            time.sleep(POLL_S)
            try:
                now = self.committed()
            except KafkaException:  # the broker does not answer yet
                continue
            before = before or now
            if all(offset > before[number] for number, offset in now.items()):
                break
        return time.monotonic() - began

    # What phases do and say.

    def side(self) -> Load:
        """A second producer, for requests by hand; stop it when all are sent."""
        found = self._producer(Mix(), rate=0)
        found.partitions = self.partitions
        return found

    def operator(self) -> Commands:
        """Somebody who gives commands for the model that is deployed."""
        topic = self.cluster.catalogue.model_commands.name
        return Commands(self.broker.bootstrap, topic, self.ledger, self.rng)

    def command(self, *arguments: str) -> str:
        """Run `chimera` as an operator would, in the nodes' environment; what it printed.

        Raises:
            AssertionError: it failed.
        """
        done = subprocess.run(
            [*CHIMERA, *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"chimera {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def remove(self, partition: int, committed: int, until: int) -> None:
        """Let retention take all requests before `until`; those from `committed` on are unanswered."""
        topic = self.cluster.requests
        self.fault("retention", f"{partition}: {committed} to {until}")
        self.cluster.delete_records(topic, partition, until)
        rows = [(topic, partition, offset, int(offset < committed)) for offset in range(until)]
        self.ledger.add("removed", rows)

    def fault(self, name: str, detail: str = "") -> None:
        """Write down what is being done to the system."""
        self.ledger.add("faults", [(time.time_ns() // 1_000_000, name, detail)])

    def expect(self, held: bool, what: str) -> None:
        """What the system must do, however slow the machine is: a violation if it does not."""
        if not held:
            self._unmet.append(what)

    def happened(self, it_did: bool, what: str) -> None:
        """What a phase must bring about to show anything; a busy machine may not let it in time."""
        if not it_did:
            self._missed.append(what)

    def note(self, **notes: Any) -> None:
        """Something to be reported with the verdict."""
        self._notes |= notes

    # The end.

    def settle(self, within_s: float = SETTLE_WITHIN_S) -> None:
        """Stop the load and wait until all is decided; if that never comes, the judge will say so."""
        self.load.stop()
        until = time.monotonic() + within_s
        while self._behind is None and time.monotonic() < until and self._unfinished():
            time.sleep(POLL_S)

    def look(self) -> None:
        """Read everything afresh; what happens later is not judged."""
        self._behind = self._unfinished()
        observe.look(self.broker.bootstrap, self.ledger, self.cluster.catalogue)
        if self.releases is not None:
            observe_models.look(self.broker.bootstrap, self.ledger, self.cluster.catalogue)

    def verdict(self, campaign: str, **notes: Any) -> Verdict:
        """Judge what `look` saw; looks if nobody did."""
        if self._behind is None:
            self.look()
        behind = self._behind or {}
        return judge(
            self.ledger,
            sum(len(partitions) for partitions in behind.values()),
            self._unmet,
            self._missed,
            campaign=campaign,
            seed=self.seed,
            seconds=round(time.monotonic() - self._began, 1),
            exits={str(code): count for code, count in self.supervisor.exits().items()},
            events=dict(self.supervisor.events(*TOLD)),
            behind=behind,
            folder=str(self.folder),
            **(self._notes | notes),
        )

    def leftovers(self) -> list[psutil.Process]:
        """Processes of this campaign that still live; none may, once it is left."""
        return marked(self.folder)

    def _unfinished(self) -> dict[str, dict[int, int]]:
        try:
            return self.cluster.unfinished()
        except KafkaException as error:
            return {str(error): {}}
