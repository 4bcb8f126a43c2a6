"""What every embedded server is: one process on one folder, that serves or says why it does not.

    run ── its log is kept short ── asked again and again what is missing ── serves
                                    └ ends, or takes too long: an error that quotes what it said

`kafka/server.py` and `postgres/server.py` say how theirs is made, started and asked; their tests run this.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Self

from chimera.cli.stack.child import Child
from chimera.cli.stack.ports import is_free
from chimera.cli.stack.server_folder import ServerFolder
from chimera.schemas.errors import ChimeraError, ConfigurationError

PORT_TRIES = 5
POLL_S = 0.02
NEEDED_BYTES = 256 * 1024 * 1024  # of disk: a new server's data and its first logs
LOG_LIMIT_BYTES = 8 * 1024 * 1024
QUOTED_BYTES = 2_000


class EmbeddedServer(ABC):
    """Start and stop it as often as needed, it keeps its folder and its port."""

    server: ClassVar[str]  # in messages, settings and file names
    unavailable: ClassVar[type[ChimeraError]]

    def __init__(self, folder: Path | None, port: int | None) -> None:
        """Without a folder a temporary one, removed by `stop`; without a port a free one."""
        self._folder = ServerFolder(folder, server=self.server, needed_bytes=NEEDED_BYTES)
        self._fixed_port = port
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    @property
    def folder(self) -> Path:
        if self._folder.path is None:
            raise self.unavailable(f"a temporary {self.server} has no folder before it is started")
        return self._folder.path

    @property
    def log_file(self) -> Path:
        return self.folder / f"{self.server.lower()}.log"

    @property
    def pid(self) -> int:
        """Of the first of its processes."""
        if self._child is None:
            raise self.unavailable(f"the embedded {self.server} is not running")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.exit_code is None

    def _serves(
        self, command: Sequence[str], missing: Callable[[Child], str | None], within_s: float
    ) -> bool:
        """Run it until nothing is `missing`; False when a port turned out to be taken."""
        logged_bytes = self._shorten_log()
        self._child = child = Child(
            command,
            log_file=self.log_file,
            inherit=() if self._folder.lock is None else (self._folder.lock,),
        )
        until = time.monotonic() + within_s
        while child.wait(POLL_S) is None:
            reason = missing(child)
            if reason is None and child.exit_code is None:
                return True
            if time.monotonic() > until:
                raise self.unavailable(
                    f"the embedded {self.server} did not serve within {within_s:.0f} s: {reason}"
                    f"{self._said(logged_bytes)}"
                )
        said = self._said(logged_bytes)
        if "Address already in use" in said:
            return False
        raise self.unavailable(
            f"the embedded {self.server} ended with code {child.exit_code} while it started{said}"
        )

    def _shorten_log(self) -> int:
        """Where this run's part of the log begins."""
        size = self.log_file.stat().st_size if self.log_file.exists() else 0
        if size <= LOG_LIMIT_BYTES:
            return size
        self.log_file.replace(self.log_file.with_suffix(".log.1"))
        return 0

    def _said(self, logged_bytes: int) -> str:
        """The end of what this run logged, after where the rest is."""
        with self.log_file.open("rb") as log:
            log.seek(logged_bytes)
            said = log.read().decode("utf-8", "replace")
        return f"; {self.log_file} says:\n{said[-QUOTED_BYTES:].strip()}"

    def _require_free(self, port: int) -> int:
        if not is_free(port):
            raise self._taken(port)
        return port

    def _taken(self, port: int | None) -> ConfigurationError:
        which = f"port {port} is" if port else "one port after the other was"
        return ConfigurationError(
            f"CHIMERA_{self.server.upper()}__EMBEDDED_PORT: {which} taken by another process; "
            "name a free one, or unset it"
        )
