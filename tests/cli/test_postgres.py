"""The embedded Postgres: starts, survives, refuses, and leaves nothing behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from chimera.cli.postgres import cluster as postgres_cluster
from chimera.cli.postgres.account import account_of
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.errors import ConfigurationError, PostgresUnavailable


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One server of this module's own, in a folder that nobody else may enter."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), extra={"fsync": "off"}) as started:
        yield started


async def execute(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def ask(dsn: str, statement: str) -> object:
    return asyncio.run(execute(dsn, statement))


def family(server: EmbeddedPostgres) -> list[psutil.Process]:
    first = psutil.Process(server.pid)
    return [first, *first.children(recursive=True)]


def gone(processes: list[psutil.Process], within_s: float = 30) -> bool:
    until = time.monotonic() + within_s
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_server_is_of_the_newest_version_and_speaks_scram(server: EmbeddedPostgres) -> None:
    assert str(ask(server.dsn, "SHOW server_version")).startswith(f"{postgres_cluster.MAJOR}.")
    assert ask(server.owner_dsn, "SELECT current_user") == "chimera_owner"
    assert ask(server.dsn, "SHOW password_encryption") == "scram-sha-256"


def test_server_does_not_run_as_root_and_listens_on_loopback_alone(
    server: EmbeddedPostgres,
) -> None:
    assert all(one.uids().effective != 0 for one in family(server))
    listening = [
        one.laddr.ip
        for one in psutil.Process(server.pid).net_connections("all")
        if one.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


def test_folders_above_the_data_stay_closed(server: EmbeddedPostgres) -> None:
    """Whoever could not enter them before still cannot."""
    assert (server.folder / "data").stat().st_mode & 0o777 == 0o700
    assert server.folder.parent.stat().st_mode & 0o077 == 0


def test_kill_and_start_keep_port_secrets_and_rows(server: EmbeddedPostgres) -> None:
    ask(server.owner_dsn, "CREATE TABLE kept AS SELECT 7 AS number")
    dsn, processes = server.dsn, family(server)
    server.kill()
    assert gone(processes)
    server.start()
    assert server.dsn == dsn
    assert ask(server.owner_dsn, "SELECT number FROM kept") == 7


def test_kill_ends_sessions_that_compute(server: EmbeddedPostgres) -> None:
    """They do not look whether their server is there before they have an answer."""

    async def busy() -> None:
        connection = await asyncpg.connect(server.dsn)
        computing = asyncio.create_task(
            connection.execute("SELECT sum(sqrt(a)) FROM generate_series(1, 10000000000) a")
        )
        await asyncio.sleep(0.5)
        processes = family(server)
        await asyncio.to_thread(server.kill)
        assert gone(processes)
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await computing
        connection.terminate()

    asyncio.run(busy())
    server.start()


def test_stop_does_not_wait_for_clients(server: EmbeddedPostgres) -> None:
    async def held() -> float:
        connection = await asyncpg.connect(server.dsn)
        began = time.monotonic()
        await asyncio.to_thread(server.stop)
        connection.terminate()
        return time.monotonic() - began

    assert asyncio.run(held()) < 10
    server.start()


def test_stop_and_start_keep_port_and_rows(server: EmbeddedPostgres) -> None:
    ask(server.owner_dsn, "CREATE TABLE also_kept AS SELECT 8 AS number")
    dsn = server.dsn
    server.stop()
    with EmbeddedPostgres(server.folder) as other:
        assert other.dsn == dsn
        assert ask(other.owner_dsn, "SELECT number FROM also_kept") == 8
    server.start()


def test_lost_secrets_are_made_anew_and_the_old_ones_end(server: EmbeddedPostgres) -> None:
    old = server.dsn
    server.stop()
    (server.folder / "access.json").unlink()
    server.start()
    assert ask(server.dsn, "SELECT 1") == 1
    password = old.split("@")[0]
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(f"{password}@{server.dsn.split('@')[1]}", "SELECT 1")


def test_rules_that_somebody_changed_are_put_right(server: EmbeddedPostgres) -> None:
    server.stop()
    (server.folder / "data" / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
    server.start()
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(server.dsn.replace(":", ":x", 2).replace("postgresql:x", "postgresql:"), "SELECT 1")


@pytest.mark.parametrize("seconds", ["0", "60"])
def test_the_mark_of_a_server_that_ended_is_no_obstacle(
    server: EmbeddedPostgres, seconds: str
) -> None:
    """Its number is that of a process nobody has waited for, or of a new one."""
    server.kill()
    data = server.folder / "data"
    sleep = account_of(data).command(["/bin/sh", "-c", f"echo; exec sleep {seconds}"], [])
    with subprocess.Popen(sleep, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        if seconds == "0":
            os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        _, *rest = (data / "postmaster.pid").read_text().split("\n")
        (data / "postmaster.pid").write_text("\n".join([str(other.pid), *rest]))
        server.start()
        other.kill()
    assert ask(server.dsn, "SELECT 1") == 1


def test_start_with_a_folder_in_use_names_its_holder(server: EmbeddedPostgres) -> None:
    with pytest.raises(ConfigurationError, match=f"POSTGRES__EMBEDDED_DIR.*process {os.getpid()}"):
        EmbeddedPostgres(server.folder).start()
    assert server.running


def test_start_on_a_taken_port_is_refused(server: EmbeddedPostgres) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = EmbeddedPostgres(port=port)
        with pytest.raises(ConfigurationError, match=f"EMBEDDED_PORT: port {port} is taken"):
            other.start()
    assert not other.running


def test_start_in_a_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="POSTGRES__EMBEDDED_DIR.*cannot be written"):
        EmbeddedPostgres(tmp_path / "file").start()


def test_start_on_data_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(ConfigurationError, match="is of Postgres 16.*pg_dump"):
        EmbeddedPostgres(tmp_path).start()


def test_start_without_the_wheel_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_cluster, "_WHEEL", "no_such_wheel")
    with pytest.raises(PostgresUnavailable, match="not installed.*uv sync.*POSTGRES__DSN"):
        EmbeddedPostgres().start()


def test_start_with_a_wrong_configuration_quotes_the_log() -> None:
    wrong = EmbeddedPostgres(extra={"shared_buffers": "none"})
    with pytest.raises(PostgresUnavailable, match="invalid value for parameter"):
        wrong.start()
    assert not wrong.running


def test_a_first_start_that_was_killed_leaves_nothing_half(tmp_path: Path) -> None:
    half = tmp_path / "data.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path, extra={"fsync": "off"}) as server:
        assert ask(server.dsn, "SELECT 1") == 1
    assert not half.exists()


def test_roles_that_cannot_be_made_are_told_without_their_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_cluster, "ROLES", "")  # so that nobody can be given a password
    with pytest.raises(PostgresUnavailable, match='role "chimera_owner" does not exist') as caught:
        EmbeddedPostgres().start()
    assert "PASSWORD" not in str(caught.value)


def test_a_temporary_folder_is_removed_by_stop() -> None:
    server = EmbeddedPostgres()
    server.start()
    folder, processes = server.folder, family(server)
    server.stop()
    assert not folder.exists()
    assert gone(processes, within_s=0.1)
    with pytest.raises(PostgresUnavailable, match="not running"):
        _ = server.pid


PARENT = """
import sys, time
from pathlib import Path
from chimera.cli.postgres.server import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]), extra={"fsync": "off"})
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


def test_kill_of_the_parent_ends_every_process_and_frees_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        first = psutil.Process(int(parent.stdout.readline()))
        processes = [first, *first.children(recursive=True)]
        assert len(processes) > 2
        parent.send_signal(signal.SIGKILL)
    assert gone(processes)
    with EmbeddedPostgres(tmp_path) as server:
        assert ask(server.dsn, "SELECT 1") == 1
