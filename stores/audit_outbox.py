"""Audit events of this machine that Kafka has not got yet: a folder, one file an event.

    held ── on the disk ── done ── sent ── forgotten        taken back, if it was not done

An event is on the disk before what it tells is done, so a key is never made or destroyed unseen, with
Kafka away as well; who dies in between leaves an event of something that may not have been done. The
kernel's lock is held meanwhile, and by who sends: nobody sends what is not done yet, nor twice at a time.
A file that a failing disk made unreadable stays, is told of each time, and holds up none of the others.
`tests/stores/test_audit_outbox.py`.
"""

import fcntl
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import structlog

from chimera.schemas.errors import ConfigurationError, RequestError
from chimera.schemas.transparency.leaves import ActionTaken, decode_leaf, encode_leaf

log = structlog.get_logger(__name__)

_LOCK = ".lock"


class AuditOutbox:
    """By its folder, which is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser()

    @contextmanager
    def holding(self, event: ActionTaken) -> Generator[None]:
        """The block does what the event tells; if it raises, the event never was.

        Raises:
            ConfigurationError: the folder cannot be written. SchemaInvalid: nobody could read the event.
        """
        raw = encode_leaf(event)
        lock = self._opened()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self.folder / f"{event.at_ms:015d}-{event.event_id}.json"
            self._write(path, raw)
            try:
                yield
            except BaseException:
                path.unlink()
                raise
        finally:
            os.close(lock)

    @contextmanager
    def waiting(self) -> Generator[dict[str, bytes]]:
        """Those that wait, the oldest first; none while somebody else sends, or does something.

        Raises:
            ConfigurationError: the folder cannot be read.
        """
        if not self.folder.exists():
            yield {}
            return
        lock = self._opened()
        try:
            yield self._events() if _is_taken(lock) else {}
        finally:
            os.close(lock)

    def damaged(self) -> dict[str, str]:
        """The files that are no events, and why; nobody can send them.

        Raises:
            ConfigurationError: the folder cannot be read.
        """
        return {name: why for name, raw in self._read().items() if (why := _damage(raw))}

    def forget(self, names: Iterable[str]) -> None:
        """Kafka has them."""
        for name in names:
            (self.folder / name).unlink()

    def _opened(self) -> int:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(f"{self.folder}: {error.strerror}") from None

    def _events(self) -> dict[str, bytes]:
        found = self._read()
        for name, raw in [*found.items()]:
            if why := _damage(raw):
                log.error("audit_event_damaged", file=str(self.folder / name), reason=why)
                del found[name]
        return found

    def _read(self) -> dict[str, bytes]:
        try:
            return {path.name: path.read_bytes() for path in sorted(self.folder.glob("*.json"))}
        except OSError as error:
            raise ConfigurationError(f"{self.folder}: {error.strerror}") from None

    def _write(self, path: Path, raw: bytes) -> None:
        """Whole or not at all, and on the disk."""
        draft = path.with_suffix(".draft")
        try:
            with draft.open("wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None


def _is_taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _damage(raw: bytes) -> str:
    """Why nobody could read it as an event, or nothing."""
    try:
        leaf = decode_leaf(raw)
    except RequestError as error:
        return str(error)
    return "" if isinstance(leaf, ActionTaken) else "a leaf of the sequencer's own, no event"
