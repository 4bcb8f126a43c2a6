"""The embedded Kafka: starts, survives, refuses, and leaves nothing behind."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from chimera.cli.kafka import config as kafka_config
from chimera.cli.kafka.server import EmbeddedKafka
from chimera.cli.stack.ports import free_port
from chimera.schemas.errors import ConfigurationError, KafkaUnavailable

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """One broker of this module's own: its tests kill and restart it."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as started:
        yield started


async def create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def transact(bootstrap: str, topic: str, value: bytes) -> None:
    """One record and one group offset in one transaction: both coordinators are needed."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{topic}-writer")
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(topic, value)
            offsets = {TopicPartition(topic, 0): 1}
            await producer.send_offsets_to_transaction(offsets, f"{topic}-group")
    finally:
        await producer.stop()


async def read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        found = [(await asyncio.wait_for(consumer.getone(), 10)).value for _ in range(count)]
        return [bytes(value or b"") for value in found]
    finally:
        await consumer.stop()


def test_preferred_port_is_taken_where_it_is_free() -> None:
    wanted = free_port()
    with EmbeddedKafka(prefers=wanted, is_brief=True) as first:
        assert first.bootstrap == f"127.0.0.1:{wanted}"
        with EmbeddedKafka(prefers=wanted, is_brief=True) as second:
            assert second.bootstrap != first.bootstrap


def test_start_serves_transactions_and_groups_at_once(broker: EmbeddedKafka, prefix: str) -> None:
    async def use() -> list[bytes]:
        await create(broker.bootstrap, prefix + "first")
        await transact(broker.bootstrap, prefix + "first", b"one")
        return await read(broker.bootstrap, prefix + "first", 1)

    assert asyncio.run(use()) == [b"one"]


def test_kill_and_start_keep_port_and_records(broker: EmbeddedKafka, prefix: str) -> None:
    async def write() -> None:
        await create(broker.bootstrap, prefix + "kept")
        await transact(broker.bootstrap, prefix + "kept", b"one")

    asyncio.run(write())
    address, pid = broker.bootstrap, broker.pid
    broker.kill()
    assert not psutil.pid_exists(pid)
    broker.start()
    assert broker.bootstrap == address
    assert asyncio.run(read(address, prefix + "kept", 1)) == [b"one"]


def test_stop_and_start_keep_cluster_and_port(broker: EmbeddedKafka) -> None:
    address, cluster = broker.bootstrap, cluster_id(broker.folder)
    broker.stop()
    with EmbeddedKafka(broker.folder) as other:
        assert other.bootstrap == address
        assert cluster_id(other.folder) == cluster
    broker.start()


def cluster_id(folder: Path) -> str:
    lines = (folder / "data" / "meta.properties").read_text().splitlines()
    return next(line for line in lines if line.startswith("cluster.id="))


def test_start_with_a_folder_in_use_names_its_holder(broker: EmbeddedKafka) -> None:
    with pytest.raises(ConfigurationError, match=f"in use by process {os.getpid()}"):
        EmbeddedKafka(broker.folder).start()


def test_start_on_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} is taken"):
            EmbeddedKafka(tmp_path, port=port).start()


def test_start_in_a_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="EMBEDDED_DIR.*cannot be written"):
        EmbeddedKafka(tmp_path / "file").start()


def test_start_on_a_nearly_full_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=1 << 20)

    monkeypatch.setattr("shutil.disk_usage", usage)
    with pytest.raises(ConfigurationError, match="1 MiB left"):
        EmbeddedKafka(tmp_path).start()


def test_start_with_a_wrong_configuration_quotes_the_log(tmp_path: Path) -> None:
    wrong = EmbeddedKafka(tmp_path, extra={"num.io.threads": "none"})
    with pytest.raises(KafkaUnavailable, match="num.io.threads"):
        wrong.start()
    assert not wrong.running


def test_a_temporary_folder_is_removed_by_stop() -> None:
    broker = EmbeddedKafka()
    broker.start()
    folder, pid = broker.folder, broker.pid
    assert list((folder / "data").glob("__consumer_offsets-*"))
    broker.stop()
    assert not folder.exists()
    assert not psutil.pid_exists(pid)


PARENT = """
import sys, time
from pathlib import Path
from chimera.cli.kafka.server import EmbeddedKafka
from chimera.cli.stack.ports import free_port

broker = EmbeddedKafka(Path(sys.argv[1]))
broker.start()
print(broker.pid, flush=True)
time.sleep(60)
"""


def test_kill_of_the_parent_ends_the_broker_and_frees_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    with EmbeddedKafka(tmp_path) as broker:  # waits for the lock, so the JVM is gone
        assert broker.running
        assert ended(pid)


def ended(pid: int) -> bool:
    """Gone, or a zombie that waits for the first process to notice."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_broker_listens_on_loopback_alone(broker: EmbeddedKafka) -> None:
    listening = [
        connection.laddr.ip.removeprefix("::ffff:")
        for connection in psutil.Process(broker.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}


def test_each_configuration_is_one_that_the_broker_knows(broker: EmbeddedKafka) -> None:
    """A misspelt name is ignored by Kafka in silence; also of docker-compose.yml."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    container = compose["services"]["kafka"]["environment"]
    names = {
        key.removeprefix("KAFKA_").replace("_", ".").lower()
        for key in container
        if key.startswith("KAFKA_")
    }
    written = kafka_config.properties(broker.folder, (1, 2), {})
    names |= {line.split("=")[0] for line in written.splitlines()}
    assert names - known_configuration(broker.bootstrap) == set()


def known_configuration(bootstrap: str) -> set[str]:
    """What the broker has a definition of; it hides the values of names that it does not know."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    resource = ConfigResource(ConfigResource.Type.BROKER, "1")
    described = admin.describe_configs([resource])[resource].result(20)
    return {name for name, entry in described.items() if not entry.is_sensitive}


def test_brokers_that_start_together_and_prefer_one_port_have_one_each(tmp_path: Path) -> None:
    """The port is free when both look; who loses it must not take the other's answers for its own."""
    wanted = free_port()
    brokers = [EmbeddedKafka(tmp_path / name, prefers=wanted, is_brief=True) for name in "ab"]
    try:
        with ThreadPoolExecutor() as threads:
            list(threads.map(EmbeddedKafka.start, brokers))
        found = {broker.bootstrap for broker in brokers}
        assert len(found) == 2
        assert f"127.0.0.1:{wanted}" in found
        for broker in brokers:
            asyncio.run(create(broker.bootstrap, f"of-{broker.folder.name}"))
            told = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10)
            assert [one for one in told.topics if one.startswith("of-")] == [
                f"of-{broker.folder.name}"
            ]
    finally:
        for broker in brokers:
            broker.stop()
