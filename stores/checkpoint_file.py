"""Checkpoints that were signed here: a file that is only ever appended to.

A checkpoint is on the disk before anybody else sees it, so a log that was killed knows what it may
not contradict. Whoever appends holds the file's lock, and never goes back: a smaller tree than the
last is left out. A last one that is cut, because its writer died, was seen by nobody and is taken
away. It blocks: give it a thread. `tests/stores/test_checkpoint_file.py`.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from chimera.schemas.errors import ConfigurationError, DiskUnavailable, EvidenceMalformed
from chimera.schemas.transparency import checkpoints, notes
from chimera.schemas.transparency.checkpoints import Checkpoint

_DASH = "\N{EM DASH} ".encode()
_BREAK = b"\n\n"
_TAIL_BYTES = 2 * notes.MAX_NOTE_BYTES
_MISPLACED = (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)


class CheckpointFile:
    """By its path; the folder is made.

    Each method raises ConfigurationError: no file can be there. DiskUnavailable: the disk is full, or fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()

    def last(self) -> bytes | None:
        """The note that was appended last, as it was signed."""
        with self._opened() as file:
            return _tail(file)[1]

    def written_at_s(self) -> float:
        """When a note was appended last, epoch; there is one."""
        with self._opened() as file:
            return os.fstat(file).st_mtime

    def append(self, note: bytes) -> bool:
        """On the disk when it returns; False: a larger tree was signed already, and nothing is done.

        Raises:
            EvidenceMalformed: the file holds no notes.
        """
        with self._opened() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end, before = _tail(file)
            if before is not None and head_of(before).size > head_of(note).size:
                return False
            os.ftruncate(file, end)
            _write(file, checkpoints.join([note]), end)
            os.fsync(file)
            return True

    @contextmanager
    def _opened(self) -> Generator[int]:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                yield file
            finally:
                os.close(file)
        except _MISPLACED as error:
            raise ConfigurationError(f"{self.path}: {error.strerror}") from None
        except OSError as error:
            raise DiskUnavailable(f"{self.path}: {error.strerror}") from None


def head_of(note: bytes) -> Checkpoint:
    """What a note signs. Raises EvidenceMalformed: it is no checkpoint."""
    return checkpoints.decode(notes.decode(note).text)


def _write(file: int, raw: bytes, offset: int) -> None:
    """All of it: a disk that becomes full takes a part first, and says nothing."""
    while raw:
        written = os.pwrite(file, raw, offset)
        raw, offset = raw[written:], offset + written


def _tail(file: int) -> tuple[int, bytes | None]:
    """Where the last whole note ends, and the note.

    Raises:
        EvidenceMalformed: there is something, and no note in it.
    """
    size = os.fstat(file).st_size
    start = max(0, size - _TAIL_BYTES)
    raw = os.pread(file, size - start, start)
    end = len(raw)
    while (end := raw.rfind(_BREAK, 0, end)) >= 0:
        under = raw.rfind(_BREAK, 0, end)
        if under >= 0 and raw.startswith(_DASH, under + 2):
            above = raw.rfind(_BREAK, 0, under)
            return start + end + 2, raw[above + 2 if above >= 0 else 0 : end + 1]
    if start:
        raise EvidenceMalformed("checkpoints: no note in the end of the file")
    return 0, None
