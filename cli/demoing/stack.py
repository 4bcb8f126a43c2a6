"""The demo's own stack: one temporary folder, its servers, the versions being made, a node.

All of it ends with the `with` block, also after Ctrl-C; nothing outlives this process, however it
ends (`child`). `tests/cli/demoing/test_demo.py` runs it.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from chimera.cli.demoing import configuration
from chimera.cli.demoing.failure import DemoFailed, tail
from chimera.cli.demoing.maker import READY_FILE, Maker, command
from chimera.cli.demoing.stages import Stages
from chimera.cli.stack.child import Child
from chimera.schemas.settings import Settings

if TYPE_CHECKING:
    from chimera.cli.demoing.servers import Servers

NODE_WITHIN_S = 90.0
SERVED_WITHIN_S = 60.0
HAND_OVER_WITHIN_S = 120.0
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
        self._servers: Servers | None = None
        self._maker: Maker | None = None
        self._node: Child | None = None
        self.is_kept = False  # the folder, at the end

    @property
    def bootstrap(self) -> str:
        return self._started.bootstrap

    @property
    def postgres(self) -> str:
        return self._started.postgres

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
    def sample(self) -> Path:
        """One digit, as `chimera infer` takes it."""
        return self.folder / "digit.json"

    @property
    def _environment(self) -> dict[str, str]:
        """What libraries leave in the temporary folder (torch does) goes with the demo's own."""
        return {**self._overrides, "TMPDIR": str(self.folder), "ORT_DISABLE_TELEMETRY": "1"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for child in (self._maker, self._node):
            if child is not None:
                child.kill()
        if self._servers is not None:
            self._servers.stop()
        if isinstance(error, Exception):
            self._stages.say(f"what was logged is kept in {self.folder}")
        elif not self.is_kept:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Servers and the making of the versions side by side, then the node; both go on.

        Raises:
            ChimeraError: something did not start; says which, and what its log says.
        """
        making = command(self.folder)
        log_file = self.folder / "making.log"
        self._maker = Maker(making, log_file, self._environment, self._stages)
        from chimera.cli.demoing.servers import Servers  # while torch is loaded over there

        self._servers = Servers(self.settings, self._stages)
        self._servers.start(self.folder / READY_FILE)
        with self._stages.begin("node ready"):
            self._start_node()

    def await_made(self, stage: str) -> None:
        """Until this stage of the making is over. Raises DemoFailed."""
        if self._maker is None:
            raise AssertionError("not started")
        self._maker.wait(stage)

    def await_served(self, model: str, revision: int) -> None:
        """Until the node serves this revision of a model's state, or a later one.

        Raises:
            DemoFailed: it has ended, or takes too long.
        """
        from chimera.cli.watching import scrape

        until_s = time.monotonic() + SERVED_WITHIN_S
        while scrape.pages([self.metrics])[0].revisions.get(model, 0) < revision:
            self.require_node()
            if time.monotonic() > until_s:
                log = tail(self.folder / "node.log")
                raise DemoFailed(f"revision {revision} is not served; the node's log says:\n{log}")
            time.sleep(POLL_S)

    def require_node(self) -> None:
        """
        Raises:
            DemoFailed: the node has ended.
        """
        if self._node is None or self._node.exit_code is not None:
            raise DemoFailed(f"the node ended; its log says:\n{tail(self.folder / 'node.log')}")

    def stop_node(self) -> None:
        """
        Raises:
            DemoFailed: it did not end well.
        """
        from chimera.cli.stack.stack import NODE_STOP_WITHIN_S

        if self._node is not None and (status := self._node.stop(NODE_STOP_WITHIN_S)):
            log = tail(self.folder / "node.log")
            raise DemoFailed(f"the node stopped with exit status {status}; its log says:\n{log}")

    def hand_over(self) -> None:
        """Let `chimera up` run the servers and a node in this folder, at the same addresses.

        Raises:
            DemoFailed: it did not come up.
        """
        self.config_file.write_text(configuration.toml(self.settings), "utf-8")
        self._started.stop()
        environment = {**self._environment, "CHIMERA_CONFIG": str(self.config_file)}
        log_file = self.folder / "handover.log"
        up = [sys.executable, "-m", "chimera.cli", "up", "--detach"]
        child = Child(up, log_file=log_file, environment=environment)
        self.is_kept = True
        self._await(child, "`chimera up`", log_file, HAND_OVER_WITHIN_S, lambda: False)

    def _start_node(self) -> None:
        from chimera.cli.stack.stack import node_command

        ready_file, log_file = self.folder / "node.ready", self.folder / "node.log"
        node = node_command(self.bootstrap, ready_file)
        self._node = Child(node, log_file=log_file, environment=self._environment)
        self._await(self._node, "the node", log_file, NODE_WITHIN_S, ready_file.exists)

    def _await(
        self, child: Child, what: str, log_file: Path, within_s: float, ready: Callable[[], bool]
    ) -> None:
        """Until it is ready, or has ended well."""
        until_s = time.monotonic() + within_s
        while not ready() and child.wait(POLL_S) != 0:
            late = time.monotonic() > until_s
            if late or child.exit_code is not None:
                ended = f"ended with exit status {child.exit_code}"
                how = f"was not ready after {within_s:.0f} s" if late else ended
                raise DemoFailed(f"{what} {how}; its log says:\n{tail(log_file)}")
