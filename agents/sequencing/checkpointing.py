"""When the log's head is signed, and what was signed: by count, by time, and hourly when idle.

    committed ── due ── signed ── on the disk ── witnesses ── published
                                                   ▴     └ some lack: again after `checkpoint_ms`
                                                   └─────────┘

A head is only signed of what is committed, and only as an extension of the last one that was: that
was shown when the log was opened, and every leaf since then was put behind it here. Time is passed
in. `tests/agents/sequencing/test_checkpointing.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from chimera.schemas.audit_settings import AuditSettings
from chimera.schemas.errors import ConfigurationError, HistoryConflict
from chimera.schemas.signing import SigningKey
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.notes import Note
from chimera.stores.checkpoint_file import CheckpointFile


@dataclass(frozen=True, slots=True)
class Cadence:
    """Seconds; `leaves` since the last checkpoint are enough by themselves."""

    leaves: int
    seconds: float
    idle_seconds: float

    def is_due(self, leaves: int, seconds: float) -> bool:
        """So many leaves, and so long, after the last checkpoint."""
        if leaves:
            return leaves >= self.leaves or seconds >= self.seconds
        return seconds >= self.idle_seconds


def cadence_of(settings: AuditSettings) -> Cadence:
    return Cadence(
        settings.checkpoint_leaves, settings.checkpoint_ms / 1000, settings.idle_ms / 1000
    )


class Checkpointing:
    """Of one log; it blocks while it writes: give `sign` a thread."""

    def __init__(
        self,
        origin: str,
        key: SigningKey,
        file: CheckpointFile,
        cadence: Cadence,
        step: Callable[[str], None],
    ) -> None:
        self.origin = origin
        self._key, self._file, self._cadence, self._step = key, file, cadence, step
        self._size, self._at_s = 0, float("-inf")
        self._lacking: Note | None = None
        self._asked_s = float("-inf")

    def begin(self, size: int, now_s: float) -> None:
        """The last checkpoint has this size; leaves behind it are signed at once."""
        self._size = size
        self._at_s = now_s - self._cadence.seconds

    def is_behind(self, size: int) -> bool:
        """Whether leaves are not covered yet."""
        return size > self._size

    def is_due(self, size: int, now_s: float) -> bool:
        return self._cadence.is_due(size - self._size, now_s - self._at_s)

    def lacks(self, note: Note | None, now_s: float) -> None:
        """Of the last head, which witnesses were asked about just now: some did not cosign; None: all did."""
        self._lacking, self._asked_s = note, now_s

    def to_ask(self, now_s: float) -> Note | None:
        """The last head, where its witnesses are to be asked again."""
        is_due = now_s - self._asked_s >= self._cadence.seconds
        return self._lacking if is_due else None

    def sign(self, tree: CompactRange, now_s: float) -> Note:
        """Of a committed tree; it is on the disk when this returns.

        Raises:
            ConfigurationError, DiskUnavailable, EvidenceMalformed: the file.
            HistoryConflict: it has a larger tree.
        """
        self._step("before_checkpoint")
        note = checkpoints.sign(Checkpoint(self.origin, tree.size, tree.root()), self._key)
        self.keep(note.encode())
        self._step("after_checkpoint")
        self._size, self._at_s = tree.size, now_s
        return note

    def keep(self, note: bytes) -> None:
        """Raises HistoryConflict: somebody has signed a larger tree meanwhile."""
        if not self._file.append(note):
            raise HistoryConflict(f"{self._file.path}: a checkpoint of a larger tree is there")


def require_extends(last: Checkpoint, origin: str, known: CompactRange, tree: CompactRange) -> None:
    """The log goes on from what was signed last; `known` is its tree of that size, or the whole.

    Raises:
        ConfigurationError: the checkpoint is of another log.
        HistoryConflict: the log is shorter, or another one.
    """
    if last.origin != origin:
        raise ConfigurationError(
            f"CHIMERA_AUDIT__ORIGIN: checkpoints of {last.origin!r} were signed before, not of {origin!r}"
        )
    if last.size > tree.size:
        raise HistoryConflict(
            f"audit.log: {last.size} leaves were signed, and {tree.size} are there"
        )
    if known.size != last.size or known.root() != last.root:
        raise HistoryConflict(f"audit.log: the root of size {last.size} is not the one signed")
