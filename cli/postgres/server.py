"""A real Postgres 18 on this machine: no container, nothing to install, SCRAM for everybody.

    start ── lock the folder ── make its data, once ── run the server ── log in and query
    stop ── ask (SIGINT: end sessions, write everything) ── SIGKILL ── wait for all its processes

It listens on loopback alone and dies with us (`child`, `account`). The lock is shared with every
process of the server, so a folder is free only when nothing writes there any more. Its port lies
below the range of outgoing connections and is kept, so clients find it again after a crash.
`tests/cli/test_postgres.py` starts, kills and restarts it.
"""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from chimera.cli.postgres import config as postgres_config
from chimera.cli.postgres import probe as postgres_probe
from chimera.cli.postgres.cluster import Cluster
from chimera.cli.postgres.config import Access
from chimera.cli.stack.child import Child
from chimera.cli.stack.embedded import PORT_TRIES, EmbeddedServer
from chimera.cli.stack.ports import free_port, is_free
from chimera.schemas.errors import PostgresUnavailable

START_WITHIN_S = 60.0  # after a crash it first reads its log again
STOP_WITHIN_S = 20.0


class EmbeddedPostgres(EmbeddedServer):
    """One server."""

    server = "Postgres"
    unavailable = PostgresUnavailable

    def __init__(
        self,
        folder: Path | None = None,
        port: int | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing happens before `start`, which must not be called on an event loop.

        Args:
            folder: data, secrets and log; none: a temporary one, removed by `stop`.
            port: none: the one it had before when that is free, else a free one.
            extra: server configuration, put over our own.
        """
        super().__init__(folder, port)
        self._extra = {**({"fsync": "off"} if folder is None else {}), **(extra or {})}
        self._access: Access | None = None

    @property
    def dsn(self) -> str:
        """With the application role's secret; stays the same over stop, kill and start."""
        return self._served.dsn

    @property
    def owner_dsn(self) -> str:
        """With the secret of the role that owns the tables: for migrations."""
        return self._served.owner_dsn

    def start(self, within_s: float = START_WITHIN_S) -> None:
        """Start and wait until it serves.

        Raises:
            ConfigurationError: the folder is in use, cannot be written, is nearly full or of another
                version, or the port is taken.
            PostgresUnavailable: the programs are not here, or the server ended or did not serve in
                time; quotes its log.
        """
        if self.running:
            return
        self._folder.prepare()
        try:
            self._folder.take()
            try:
                cluster = Cluster(self.folder, is_kept=not self._folder.temporary)
                self._access = cluster.prepare()
            except OSError as error:
                raise self._folder.unwritable(error) from error
            self._start_on_port(cluster, self._access, within_s)
        except BaseException:
            self.stop()
            raise

    def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """End it, for certain after `within_s`; a temporary folder is removed."""
        if self._child is not None and self._child.exit_code is None:
            self._child.signal(signal.SIGINT)
            self._child.wait(within_s)
        self.kill()
        self._folder.release()
        self._folder.discard()

    def kill(self) -> None:
        """kill -9 of all its processes; `start` goes on from there, temporary folder or not."""
        if self._child is not None:
            _kill_family(self._child)
            self._child = None

    @property
    def _served(self) -> Access:
        if self._access is None or self._access.port is None:
            raise PostgresUnavailable("the embedded Postgres has not been started")
        return self._access

    def _start_on_port(self, cluster: Cluster, access: Access, within_s: float) -> None:
        for _ in range(1 if self._fixed_port is not None else PORT_TRIES):
            served = replace(access, port=self._choose_port(access))
            if self._run(cluster, served, within_s):
                served.write(self.folder)
                self._access = served
                return
        raise self._taken(self._fixed_port)

    def _choose_port(self, access: Access) -> int:
        if self._fixed_port is not None:
            return self._require_free(self._fixed_port)
        if access.port is not None and is_free(access.port):
            return access.port
        return free_port()

    def _run(self, cluster: Cluster, access: Access, within_s: float) -> bool:
        """Whether it serves; False when the port turned out to be taken."""

        def missing(server: Child) -> str | None:
            if not _says_ready(cluster.data, server.pid):
                return "it is starting"
            return postgres_probe.missing(access.dsn)

        options = postgres_config.options(access.port or 0, self._extra)
        command = cluster.command("postgres", "-D", str(cluster.data), *options)
        return self._serves(command, missing, within_s)


def _says_ready(data: Path, pid: int) -> bool:
    """Whether this very process wrote `ready`, which is the file's eighth line."""
    try:
        lines = (data / "postmaster.pid").read_text("utf-8").splitlines()
    except OSError:
        return False
    return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _kill_family(server: Child) -> None:
    """Its sessions notice that it is gone, but not before the end of what they compute."""
    if server.exit_code is not None:
        return
    server.signal(signal.SIGSTOP)  # it makes no more of them, and their ids stay theirs
    listed = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    sessions = listed.read_text("ascii").split() if listed.exists() else []
    for session in sessions:
        with suppress(ProcessLookupError):
            os.kill(int(session), signal.SIGKILL)
    server.kill()
