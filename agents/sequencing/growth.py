"""What the log grew by lately, so that its witnesses' proofs need not be read from it. Pure.

Hashes of leaves, in memory: those since the checkpoint that was cosigned last, and `MOST` at the most. Who
has seen less is proved it from the log itself. `tests/agents/sequencing/test_growth.py`.
"""

from collections.abc import Callable, Sequence
from functools import partial

from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.proving import prove_extension

MOST = 1 << 17  # leaves; about 10 MB


class Growth:
    """Of one log."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._before = CompactRange()
        self._hashes: list[bytes] = []

    def add(self, before: CompactRange, leaf_hashes: Sequence[bytes]) -> None:
        """These leaves were committed behind those of `before`."""
        if before.size != self._before.size + len(self._hashes) or len(self._hashes) > self._most:
            self._before, self._hashes = before, []
        self._hashes += leaf_hashes

    def forget(self, size: int) -> None:
        """Nobody asks from below any more."""
        count = size - self._before.size
        if 0 < count <= len(self._hashes):
            self._before = self._before.extend(self._hashes[:count])
            del self._hashes[:count]

    def proof(self, old: int, new: int) -> Callable[[], list[bytes]] | None:
        """Makes the proof that the tree of `new` leaves extends that of `old`, in any thread.

        None: not all of them are here.
        """
        begins, ends = old - self._before.size, new - self._before.size
        if not 0 <= begins <= ends <= len(self._hashes):
            return None
        return partial(_proof, self._before, self._hashes[:begins], self._hashes[begins:ends])


def _proof(before: CompactRange, known: Sequence[bytes], new: Sequence[bytes]) -> list[bytes]:
    return prove_extension(before.extend(known), new)
