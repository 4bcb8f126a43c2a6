"""The demo's own stack: one temporary folder, its servers, and every process that it needs.

    trainer, node load their libraries ──┐
    Kafka, Postgres ── topics, rights ───┴─ both run ── warehouse, sequencer, witness

All of it ends with the `with` block, also after Ctrl-C; nothing outlives this process, however it
ends (`child`). `tests/cli/demoing/test_demo.py` runs it.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from chimera.cli.demoing import configuration
from chimera.cli.demoing.children import Children
from chimera.cli.demoing.early import early, open_gate
from chimera.cli.demoing.failure import DemoFailed, tail
from chimera.cli.demoing.stages import Stages
from chimera.schemas.settings import Settings

if TYPE_CHECKING:
    from chimera.cli.demoing.servers import Servers
    from chimera.cli.demoing.trail import Trail

NODE, TRAINER = "node", "trainer"
LIBRARIES = {  # that take longest to load
    TRAINER: ("chimera.agents.training.agent",),
    NODE: ("chimera.agents.node", "chimera.agents.controlling.controller", "prometheus_client"),
}
NODE_WITHIN_S = 90.0
SERVED_WITHIN_S = 60.0
HAND_OVER_WITHIN_S = 120.0
STOP_WITHIN_S = 30.0
POLL_S = 0.05


class DemoStack:
    """`start`, use `bootstrap` and `folder`, `stop_node`, and `hand_over` if it shall stay."""

    def __init__(self, settings: Settings, tiers: Sequence[str], stages: Stages) -> None:
        """`tiers`: those that are compiled; none named: all."""
        self._stages, self.tiers = stages, tiers
        self.folder = Path(tempfile.mkdtemp(prefix="chimera-demo-"))
        self.is_embedded = settings.kafka.bootstrap is None
        self._overrides = configuration.overrides(
            self.folder, is_embedded=self.is_embedded, has_int8=not tiers
        )
        self.settings = configuration.applied(settings, self._overrides)
        self.children = Children(self.folder, self._environment)
        self._servers: Servers | None = None
        self._trail: Trail | None = None
        self.is_kept = False  # the folder, at the end

    @property
    def bootstrap(self) -> str:
        return self._started.bootstrap

    @property
    def postgres(self) -> str:
        return self._started.postgres

    @property
    def trail(self) -> "Trail":
        if self._trail is None:
            raise AssertionError("not started")
        return self._trail

    @property
    def _started(self) -> "Servers":
        if self._servers is None:
            raise AssertionError("not started")
        return self._servers

    @property
    def metrics(self) -> str:
        observability = self.settings.observability
        return f"http://{observability.metrics_host}:{observability.metrics_port}/metrics"

    @property
    def config_file(self) -> Path:
        return self.folder / "chimera.toml"

    @property
    def data(self) -> Path:
        """What runs learn from."""
        return self.folder / configuration.DATA

    @property
    def sample(self) -> Path:
        """One digit, as `chimera infer` takes it."""
        return self.data / configuration.SAMPLE

    @property
    def _environment(self) -> dict[str, str]:
        """What libraries leave in the temporary folder (torch does) goes with the demo's own."""
        return {**self._overrides, "TMPDIR": str(self.folder), "ORT_DISABLE_TELEMETRY": "1"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.children.kill()
        if self._servers is not None:
            self._servers.stop()
        if isinstance(error, Exception):
            self._stages.say(f"what was logged is kept in {self.folder}")
        elif not self.is_kept:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Servers, and beside them whoever loads libraries; all processes go on.

        Raises:
            ChimeraError: something did not start; says which, and what its log says.
        """
        gate = self.folder / "kafka.address"
        for name, modules in LIBRARIES.items():
            ready_file = str(self.children.ready_file(name))
            command = early(gate, modules, name, "--ready-file", ready_file)
            self.children.start(name, command)
        from chimera.cli.demoing.servers import Servers  # while libraries are loaded over there

        self._servers = Servers(self.settings, self._stages)
        self._servers.start()
        open_gate(gate, self.bootstrap)
        from chimera.cli.demoing.trail import Trail

        self._trail = Trail(self.settings, self.children)
        self._trail.start(self.bootstrap)

    def await_node(self) -> None:
        """Until it serves. Raises DemoFailed."""
        with self._stages.begin("node ready"):
            self.children.await_ready(NODE, NODE_WITHIN_S)

    def await_served(self, model: str, revision: int) -> None:
        """Until the node serves this revision of a model's state, or a later one.

        Raises:
            DemoFailed: it has ended, or takes too long.
        """
        from chimera.cli.watching import scrape

        until_s = time.monotonic() + SERVED_WITHIN_S
        while scrape.pages([self.metrics])[0].revisions.get(model, 0) < revision:
            self.children.require()
            if time.monotonic() > until_s:
                log = tail(self.children.log_file(NODE))
                raise DemoFailed(f"revision {revision} is not served; the node's log says:\n{log}")
            time.sleep(POLL_S)

    def stop_node(self) -> None:
        """
        Raises:
            DemoFailed: it did not end well.
        """
        self.children.stop(NODE, within_s=STOP_WITHIN_S)

    def hand_over(self) -> None:
        """Let `chimera up` run the servers and a node in this folder, at the same addresses.

        Raises:
            DemoFailed: it did not come up.
        """
        self.config_file.write_text(configuration.toml(self.settings), "utf-8")
        self.children.stop(within_s=STOP_WITHIN_S)
        self._started.stop()
        up = [sys.executable, "-m", "chimera.cli", "up", "--detach"]
        more = {"CHIMERA_CONFIG": str(self.config_file)}
        self.is_kept = True
        self.children.run("handover", up, HAND_OVER_WITHIN_S, more)
