"""The local stack as its users meet it: `up`, `status`, `down`, and what a crash leaves."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from pydantic import SecretStr

from chimera.cli.postgres.address import find_postgres
from chimera.cli.postgres.config import APPLICATION
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.cli.stack import state as stack_state
from chimera.cli.stack.ports import free_port
from chimera.cli.stack.stack import Stack, find_bootstrap, sync_topics
from chimera.cli.stack.state import NodeState, StackState
from chimera.cli.watching import scrape
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.history_settings import JournalSettings
from chimera.schemas.server_settings import (
    KafkaSettings,
    ObservabilitySettings,
    PostgresSettings,
    StackSettings,
)
from chimera.schemas.settings import Settings, load
from chimera.stores import schema
from chimera.stores.postgres import Database
from tests.waiting import until

SLEEPER = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(120)"


def sleeper(_bootstrap: str, ready_file: Path) -> list[str]:
    """In a node's place: tells that it is ready, and waits."""
    return [sys.executable, "-c", SLEEPER, str(ready_file)]


def in_folder(
    folder: Path,
    bootstrap: str | None = None,
    prefix: str = "",
    postgres: PostgresSettings | None = None,
) -> Settings:
    """With a registry where `postgres` says which."""
    kafka = KafkaSettings(
        bootstrap=bootstrap, embedded_dir=folder / "kafka", topic_prefix=prefix, partitions=1
    )
    stack = StackSettings(dir=folder, registry=postgres is not None)
    return Settings(kafka=kafka, stack=stack, postgres=postgres or PostgresSettings())


async def answers(dsn: str) -> None:
    """As the application role, on this release's tables; or it raises."""
    async with Database(dsn):
        pass


def chimera(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "CHIMERA_STACK__DIR": str(folder),
        "CHIMERA_KAFKA__EMBEDDED_DIR": str(folder / "kafka"),
        "CHIMERA_POSTGRES__EMBEDDED_DIR": str(folder / "postgres"),
        "CHIMERA_KAFKA__PARTITIONS": "1",
    }
    command = [sys.executable, "-m", "chimera.cli", *arguments]
    return subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def detached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack without nodes, started as a person would; its folder."""
    folder = tmp_path_factory.mktemp("stack")
    started = chimera(folder, "up", "--detach", "--nodes", "0")
    assert started.returncode == 0, started.stderr
    yield folder
    chimera(folder, "down")


def test_up_in_the_background_comes_back_when_it_is_ready(detached: Path) -> None:
    shown = chimera(detached, "status", "--json")
    assert shown.returncode == 0
    state = json.loads(shown.stdout)
    assert state["ready"]
    assert psutil.pid_exists(state["kafka_pid"])
    assert psutil.pid_exists(state["postgres_pid"])


def test_up_has_put_the_registry_in_order(detached: Path) -> None:
    dsn = find_postgres(PostgresSettings(embedded_dir=detached / "postgres"))
    asyncio.run(answers(dsn))
    shown = chimera(detached, "status").stdout
    assert f"Postgres  {dsn.rpartition('@')[2]}  process " in shown
    assert dsn.split(":")[2].split("@")[0] not in shown  # the password


def test_up_has_put_the_topics_in_order(detached: Path) -> None:
    assert chimera(detached, "topics", "sync", "--bootstrap", address(detached)).returncode == 0


def test_clients_find_the_running_stack(detached: Path) -> None:
    assert find_bootstrap(in_folder(detached)) == address(detached)


def address(folder: Path) -> str:
    state = stack_state.read(folder)
    assert state is not None
    return state.bootstrap


def test_up_beside_a_running_stack_is_refused(detached: Path) -> None:
    for arguments in (["up"], ["up", "--detach"]):
        refused = chimera(detached, *arguments)
        assert refused.returncode == 1
        assert "already (process" in refused.stderr


def test_down_ends_everything_and_says_so(tmp_path: Path) -> None:
    assert chimera(tmp_path, "up", "--detach", "--nodes", "0").returncode == 0
    state = stack_state.read(tmp_path)
    assert state is not None
    assert chimera(tmp_path, "down").stdout == "stopped\n"
    for pid in (state.kafka_pid, state.postgres_pid):
        assert pid is not None
        assert not psutil.pid_exists(pid)
    assert chimera(tmp_path, "status").returncode == 1
    assert "no stack runs" in chimera(tmp_path, "down").stdout


def test_find_bootstrap_without_a_stack_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="chimera up"):
        find_bootstrap(in_folder(tmp_path))


def test_find_bootstrap_prefers_the_cluster_of_the_settings(tmp_path: Path) -> None:
    assert find_bootstrap(in_folder(tmp_path, "one:9092")) == "one:9092"


def test_stack_refuses_secured_settings_for_the_embedded_kafka(tmp_path: Path) -> None:
    kafka = KafkaSettings(security_protocol="SSL")
    with pytest.raises(ConfigurationError, match="SECURITY_PROTOCOL"):
        Stack(Settings(kafka=kafka, stack=StackSettings(dir=tmp_path)))


def test_stack_on_a_cluster_of_ones_own_changes_no_topic(
    tmp_path: Path, kafka: str, prefix: str
) -> None:
    with (
        pytest.raises(ConfigurationError, match="topics sync --apply"),
        Stack(in_folder(tmp_path, kafka, prefix), command=sleeper) as stack,
    ):
        stack.start()


def test_stack_starts_a_killed_broker_again_and_keeps_its_nodes(tmp_path: Path) -> None:
    with Stack(in_folder(tmp_path), command=sleeper) as stack:
        stack.start()
        stack.watch(until=lambda: stack.state.ready)
        before = stack.state
        os.kill(before.kafka_pid or 0, signal.SIGKILL)
        until(lambda: not stack.state.ready)
        stack.watch(until=lambda: stack.state.ready)
        assert stack.state.bootstrap == before.bootstrap
        assert stack.state.kafka_pid != before.kafka_pid
        assert stack.state.nodes == before.nodes
    assert stack_state.read(tmp_path) is None


def test_each_node_has_a_page_of_its_own_that_watch_finds(
    tmp_path: Path, kafka: str, prefix: str
) -> None:
    settings = in_folder(tmp_path, kafka, prefix)
    asyncio.run(sync_topics(settings, kafka, change=True))
    first = free_port()
    chosen = settings.model_copy(
        update={"observability": ObservabilitySettings(metrics_port=first)}
    )
    for given in (chosen, settings):
        with Stack(given, nodes=2, command=sleeper) as stack:
            stack.start()
            pages = scrape.of_stack(given)
            stack.watch(until=lambda: stack.state.ready)
            for node, page in zip(stack.state.nodes, pages, strict=True):
                told = psutil.Process(node.pid).cmdline()
                assert told[-2:] == ["--metrics-port", str(port_of(page))]
            assert len(set(pages)) == 2
            if given is chosen:
                assert [port_of(page) for page in pages] == [first, first + 1]


def port_of(page: str) -> int:
    return urlsplit(page).port or 0


def test_stack_starts_a_killed_postgres_and_a_killed_trainer_again_and_keeps_its_nodes(
    tmp_path: Path, kafka: str, prefix: str
) -> None:
    settings = in_folder(tmp_path, kafka, prefix, PostgresSettings(embedded_dir=tmp_path / "db"))
    asyncio.run(sync_topics(settings, kafka, change=True))
    with Stack(settings, command=sleeper, beside=sleeps) as stack:
        stack.start()
        assert stack.state.trainer is None  # while nodes start
        stack.watch(until=lambda: stack.state.ready and trains(stack.state))
        before, dsn = stack.state, find_postgres(settings.postgres)
        assert before.trainer is not None
        os.kill(before.trainer.pid, signal.SIGKILL)
        os.kill(before.postgres_pid or 0, signal.SIGKILL)
        until(lambda: not stack.state.ready)
        stack.watch(until=lambda: stack.state.ready and trains(stack_state.read(tmp_path), again=1))
        after = stack.state
        assert after.trainer is not None
        shown = chimera(tmp_path, "status").stdout
        assert f"trainer process {after.trainer.pid}  ready, started again 1" in shown
        assert (after.postgres, after.nodes) == (before.postgres, before.nodes)
        assert after.postgres_pid != before.postgres_pid
        asyncio.run(answers(dsn))
    assert not psutil.pid_exists(after.postgres_pid or 0)
    assert not psutil.pid_exists(after.trainer.pid)


def trains(state: StackState | None, again: int = 0) -> bool:
    """Its training agent is there, started again so often."""
    trainer = None if state is None else state.trainer
    return trainer is not None and (trainer.ready, trainer.restarts) == (True, again)


def test_stack_on_a_postgres_of_ones_own_only_looks_at_its_tables(
    tmp_path: Path, kafka: str, prefix: str
) -> None:
    with EmbeddedPostgres() as server:
        own = PostgresSettings(dsn=SecretStr(server.dsn))
        settings = in_folder(tmp_path, kafka, prefix, own)
        asyncio.run(sync_topics(settings, kafka, change=True))
        with (
            pytest.raises(ConfigurationError, match="has no tables.*chimera db upgrade"),
            Stack(settings, command=sleeper) as stack,
        ):
            stack.start()
        asyncio.run(schema.upgrade(server.owner_dsn, APPLICATION))
        with Stack(settings, command=sleeper) as stack:
            stack.start()
            assert stack.state.postgres == server.dsn.rpartition("@")[2]
        assert server.running


def test_stack_without_a_registry_starts_no_postgres(
    tmp_path: Path, kafka: str, prefix: str
) -> None:
    settings = in_folder(tmp_path, kafka, prefix)
    asyncio.run(sync_topics(settings, kafka, change=True))
    with Stack(settings, nodes=0) as stack:
        stack.start()
        assert (stack.state.postgres, stack.state.postgres_pid) == (None, None)


def with_journal(folder: Path, kafka: str, prefix: str) -> Settings:
    settings = in_folder(folder, kafka, prefix)
    asyncio.run(sync_topics(settings, kafka, change=True))
    audit = settings.audit.model_copy(update={"key_file": folder / "audit" / "key.pem"})
    return settings.model_copy(update={"journal": JournalSettings(enabled=True), "audit": audit})


def sleeps(_name: str, bootstrap: str, ready_file: Path) -> list[str]:
    return sleeper(bootstrap, ready_file)


def test_stack_starts_a_killed_warehouse_again_and_keeps_its_nodes(
    tmp_path: Path, kafka: str, prefix: str
) -> None:
    settings = with_journal(tmp_path, kafka, prefix)
    with Stack(settings, command=sleeper, beside=sleeps) as stack:
        stack.start()
        stack.watch(until=lambda: stack.state.ready)
        before = stack.state
        assert before.warehouse is not None
        os.kill(before.warehouse.pid, signal.SIGKILL)

        def is_told() -> bool:
            told = stack_state.read(tmp_path)
            warehouse = told.warehouse if told is not None else None
            return warehouse is not None and warehouse.ready and warehouse != before.warehouse

        stack.watch(until=is_told)
        after = stack.state
        assert after.warehouse is not None
        assert (after.warehouse.restarts, after.nodes) == (1, before.nodes)
        shown = chimera(tmp_path, "status").stdout
        assert f"warehouse process {after.warehouse.pid}  ready, started again 1" in shown
        assert after.sequencer is not None
        assert f"sequencer process {after.sequencer.pid}  ready" in shown
    assert not psutil.pid_exists(after.warehouse.pid)


@pytest.mark.parametrize("refusing", ["warehouse", "sequencer"])
@pytest.mark.parametrize("status", [1, 70])  # for good, and to be started again and again
def test_process_beside_the_nodes_that_does_not_come_ends_nothing_else(
    tmp_path: Path, kafka: str, prefix: str, status: int, refusing: str
) -> None:
    def refuses(name: str, bootstrap: str, ready_file: Path) -> list[str]:
        if name == refusing:
            return [sys.executable, "-c", f"raise SystemExit({status})"]
        return sleeps(name, bootstrap, ready_file)

    settings = with_journal(tmp_path, kafka, prefix)
    with Stack(settings, command=sleeper, beside=refuses) as stack:
        stack.start()
        stack.watch(until=lambda: stack.state.ready)
        state: NodeState = getattr(stack.state, refusing)
        assert (state.ready, state.failed) == (False, status == 1)
        shown = chimera(tmp_path, "status").stdout
        assert (f"{refusing} process {state.pid}  ended for good" in shown) == state.failed


def test_stack_leaves_sequencer_and_warehouse_to_another_host(
    tmp_path: Path, kafka: str, prefix: str
) -> None:
    settings = with_journal(tmp_path, kafka, prefix)
    left = settings.stack.model_copy(update={"sequencer": False, "warehouse": False})
    with Stack(settings.model_copy(update={"stack": left}), command=sleeper, beside=sleeps) as one:
        one.start()
        one.watch(until=lambda: one.state.ready)
        assert (one.state.sequencer, one.state.warehouse) == (None, None)
    assert not settings.audit.key_file.exists()


def test_stack_with_a_journal_has_a_sequencer_and_makes_its_key(
    tmp_path: Path, kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, key = tmp_path / "sequencer.ready", tmp_path / "audit" / "key.pem"
    variables = {
        "KAFKA__BOOTSTRAP": kafka,
        "KAFKA__TOPIC_PREFIX": prefix,
        "KAFKA__GROUP": prefix,
        "KAFKA__PARTITIONS": "1",
        "STACK__DIR": str(tmp_path),
        "STACK__REGISTRY": "false",
        "JOURNAL__ENABLED": "true",
        "AUDIT__KEY_FILE": str(key),
        "CLICKHOUSE__DIR": str(tmp_path / "clickhouse"),
        "CLICKHOUSE__HTTP_PORT": "0",
        "AUDIT__CHECKPOINTS_FILE": str(tmp_path / "checkpoints.txt"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"CHIMERA_{name}", value)
    settings = load()
    asyncio.run(sync_topics(settings, kafka, change=True))
    with Stack(settings, nodes=0) as stack:
        stack.start()
        assert not stack.state.ready
        stack.watch(until=lambda: stack.state.ready)
        assert ready.exists()
        assert key.stat().st_mode & 0o777 == 0o600
    assert not ready.exists()


def test_kill_of_the_keeper_leaves_no_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", __name__, str(tmp_path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as keeper:
        until(lambda: (state := stack_state.read(tmp_path)) is not None and state.ready)
        children = psutil.Process(keeper.pid).children(recursive=True)
        assert sum(child.name() == "java" for child in children) == 1
        assert any(child.name().startswith("postgres") for child in children)
        keeper.kill()
    until(lambda: all(ended(child) for child in children))
    assert stack_state.read(tmp_path) is None


def ended(process: psutil.Process) -> bool:
    """Gone, or a zombie that waits for the first process to notice."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


if __name__ == "__main__":  # the keeper of the last test
    place = Path(sys.argv[1])
    registry = PostgresSettings(embedded_dir=place / "postgres")
    with Stack(in_folder(place, postgres=registry), command=sleeper, beside=sleeps) as running:
        running.start()
        running.watch(until=lambda: False)
