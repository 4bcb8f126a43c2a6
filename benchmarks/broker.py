"""The broker under all of them: fresh topics for every trial, its process, its version.

A trial's topics begin with a prefix of its own and are deleted after it, so every contender finds
the same: requests that were just written, an empty topic for results.
"""

# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (confluent-kafka's types leave the futures of its admin client open)

import contextlib
import re
import time
from collections.abc import Callable

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

# as ours are (topics/catalogue.py), so the broker does the same work for all
CONFIG = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(1_048_576 + 65_536)}
WITHIN_S = 30.0
QUIET = {"log_level": 2}  # librdkafka writes to standard error when the broker is stopped


class Broker:
    """One Kafka cluster, seen by its first address."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})

    def names(self, prefix: str) -> list[str]:
        found = self._admin.list_topics(timeout=WITHIN_S).topics
        return sorted(name for name in found if name.startswith(prefix))

    def create(self, names: list[str], partitions: int) -> None:
        """Create topics and wait until the broker serves them."""
        topics = [NewTopic(name, partitions, 1, config=CONFIG) for name in names]
        for future in self._admin.create_topics(topics, operation_timeout=WITHIN_S).values():
            future.result(WITHIN_S)
        _wait(lambda: set(names) <= set(self.names("")), f"the broker does not show {names}")

    def delete(self, prefix: str) -> None:
        """Delete every topic that begins with the prefix and wait until the broker shows none.

        A topic already gone is no error. The controller answers before the broker that is asked
        for names has heard of it.
        """
        names = self.names(prefix)
        if not names:
            return
        for future in self._admin.delete_topics(names, operation_timeout=WITHIN_S).values():
            with contextlib.suppress(KafkaException):
                future.result(WITHIN_S)
        _wait(lambda: not self.names(prefix), f"the broker still shows topics of {prefix!r}")

    def settings(self) -> dict[str, str]:
        """The broker's own settings that bear on speed."""
        node = next(iter(self._admin.list_topics(timeout=WITHIN_S).brokers))
        resource = ConfigResource(ResourceType.BROKER, str(node))
        found = self._admin.describe_configs([resource])[resource].result(WITHIN_S)
        wanted = (
            "num.network.threads",
            "num.io.threads",
            "log.flush.interval.messages",
            "add.partitions.to.txn.retry.backoff.ms",  # 20 by default, felt in every commit
        )
        return {name: str(found[name].value) for name in wanted if name in found}

    def process(self) -> psutil.Process | None:
        """The process that listens on the address, None where it is not on this machine."""
        host, _, port = self.bootstrap.split(",")[0].rpartition(":")
        if host not in ("127.0.0.1", "localhost"):
            return None
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or connection.pid is None:
                continue
            if connection.laddr and connection.laddr.port == int(port):
                return psutil.Process(connection.pid)
        return None

    def version(self) -> str:
        """From the name of Kafka's own jar on the process's command line; "unknown" elsewhere."""
        process = self.process()
        found = re.search(
            r"kafka_2\.\d+-([\d.]+)\.jar", " ".join(process.cmdline() if process else [])
        )
        return found.group(1) if found else "unknown"


def _wait(true: Callable[[], bool], otherwise: str) -> None:
    ends = time.monotonic() + WITHIN_S
    while not true():
        if time.monotonic() > ends:
            raise TimeoutError(otherwise)
        time.sleep(0.1)
