"""The folder of an embedded server: room in it, one owner, and nothing left of a temporary one.

    prepare ── make it, measure it        lock ── ours, and what inherits the descriptor
    release ── unlock                     discard ── a temporary one goes, another stays

The lock is handed down to the server, so the folder is free only when nothing writes there any
more. `tests/cli/test_server_folder.py`; `test_kafka.py` and `test_postgres.py` use it for real.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

from chimera.cli.stack import locks
from chimera.schemas.errors import ConfigurationError

LOCK_WITHIN_S = 3.0  # a server whose parent was killed is gone within this
_ABANDONED_AFTER_S = 60.0  # a folder is locked long before


class ServerFolder:
    """Made by `prepare`; `path` is None while a temporary one does not exist."""

    def __init__(self, path: Path | None, *, server: str, needed_bytes: int) -> None:
        """`server` names it in messages, in its setting and in temporary folders."""
        self.temporary = path is None
        self.path = path.expanduser().absolute() if path is not None else None
        self.lock: int | None = None
        self._server = server
        self._needed_bytes = needed_bytes

    @property
    def setting(self) -> str:
        return f"CHIMERA_{self._server.upper()}__EMBEDDED_DIR"

    def prepare(self) -> Path:
        """Make it where it is not there.

        Raises:
            ConfigurationError: it cannot be written, or the disk is nearly full.
        """
        try:
            if self.path is None:
                prefix = temporary_prefix(self._server)
                sweep(Path(tempfile.gettempdir()), prefix)
                self.path = Path(tempfile.mkdtemp(prefix=prefix))
            self.path.mkdir(parents=True, exist_ok=True)
            free_bytes = shutil.disk_usage(self.path).free
        except OSError as error:
            raise self.unwritable(error) from error
        if free_bytes < self._needed_bytes:
            raise ConfigurationError(
                f"{self.setting}: {self.path} has {free_bytes >> 20} MiB left, "
                f"{self._server} needs {self._needed_bytes >> 20}; free some, or name a folder "
                "elsewhere"
            )
        return self.path

    def take(self) -> None:
        """Lock it; a lock that is held already stays.

        Raises:
            ConfigurationError: another process holds it, or the file cannot be written.
        """
        if self.lock is not None:
            return
        try:
            self.lock = locks.take(self._lock_file, LOCK_WITHIN_S)
        except OSError as error:
            raise self.unwritable(error) from error
        if self.lock is None:
            raise ConfigurationError(
                f"{self.setting}: {self.path} is in use by process "
                f"{locks.holder(self._lock_file)}; end that stack (`chimera down`), or name "
                "another folder"
            )

    def release(self) -> None:
        """Unlock it, as far as we are concerned."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def discard(self) -> None:
        """Remove a temporary one; the next `prepare` makes another."""
        if self.temporary and self.path is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            self.path = None

    def unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"{self.setting}: {self.path} cannot be written ({error})")

    @property
    def _lock_file(self) -> Path:
        if self.path is None:
            raise AssertionError("a folder is prepared before it is locked")
        return self.path / "lock"


def temporary_prefix(server: str) -> str:
    return f"chimera-{server.lower()}-"


def sweep(parent: Path, prefix: str) -> None:
    """Remove temporary folders whose owner was killed: nobody holds their lock."""
    for folder in parent.glob(f"{prefix}*"):
        try:
            is_old = time.time() - folder.stat().st_mtime > _ABANDONED_AFTER_S
            if is_old and locks.holder(folder / "lock") is None:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # another user's, or another process was faster
