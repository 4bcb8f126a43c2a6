"""What an executor is doing, in memory that outlives it: read by the node when it has died.

The executor marks the requests that it is about to decode or compute, and when it began; clearing
the mark is one store. So the node knows who was at work at a death, and sees a hang, without a
message per batch. Layout: a fixed header, a name, then for each lane its number, a count, and offsets.
The name is of the version and the tier that compute; while a version is being loaded, or computes as a
shadow, it is the version's, and no request is at work. One side writes, one reads.
`tests/workers/test_suspects.py` and `test_executor_deaths.py` hold it.
"""

import mmap
import os
import struct
import tempfile
import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

CAPACITY_BYTES = 1 << 21  # pages that are never written cost nothing
MAX_REQUESTS = 1 << 16  # at most, in one mark: a whole batch, each of another lane
_HEADER = struct.Struct("=QQIII")  # beat_ns, since_ns, doing, length of all, length of the name
_BEAT = struct.Struct("=Q")
_STATE = struct.Struct("=QIII")
_LANE = struct.Struct("=qI4x")


class Doing(IntEnum):
    WAITING = 0  # for frames, or for the node to take answers
    LOADING = 1
    DECODING = 2
    COMPUTING = 3
    SHADOWING = 4  # computing again what was answered


@dataclass(frozen=True, slots=True)
class Sight:
    """What the board shows at one moment; times are `time.monotonic_ns()`."""

    doing: Doing
    since_ns: int
    beat_ns: int  # the last time that the executor's loop went round


class Board:
    """One executor's. The node makes it and passes `fileno` on; the executor opens that."""

    def __init__(self, fileno: int) -> None:
        """Takes over the file descriptor."""
        self.fileno = fileno
        self._memory = mmap.mmap(fileno, CAPACITY_BYTES)

    @classmethod
    def create(cls) -> "Board":
        if hasattr(os, "memfd_create"):
            fileno = os.memfd_create("chimera-suspects")
        else:  # no Linux: a file without a name
            with tempfile.TemporaryFile() as file:
                fileno = os.dup(file.fileno())
        os.ftruncate(fileno, CAPACITY_BYTES)
        return cls(fileno)

    def close(self) -> None:
        self._memory.close()
        os.close(self.fileno)

    # The executor writes.

    def beat(self) -> None:
        _BEAT.pack_into(self._memory, 0, time.monotonic_ns())

    def mark(
        self,
        doing: Doing,
        lanes: Iterable[tuple[int, Sequence[int]]],
        version: str = "",
        tier: str = "",
    ) -> None:
        """From now on `doing` something with these offsets of these lanes, in a version's tier."""
        position = self._begin(f"{version} {tier}" if tier else version)
        named, memory = position - _HEADER.size, self._memory
        for lane, offsets in lanes:
            stop = position + _LANE.size + 8 * len(offsets)
            if stop > CAPACITY_BYTES:
                break
            _LANE.pack_into(memory, position, lane, len(offsets))
            memory[position + _LANE.size : stop] = _packed(offsets)
            position = stop
        length = position - _HEADER.size
        _STATE.pack_into(memory, 8, time.monotonic_ns(), doing, length, named)

    def mark_loading(self, model: str) -> None:
        self.mark(Doing.LOADING, (), model)

    def mark_shadowing(self, model: str) -> None:
        self.mark(Doing.SHADOWING, (), model)

    def _begin(self, name: str) -> int:
        """Write a name; returns where it ends."""
        self.clear()  # whoever reads now sees nothing rather than a half of two marks
        written = name.encode()
        end = _HEADER.size + len(written)
        self._memory[_HEADER.size : end] = written
        return end

    def clear(self) -> None:
        _STATE.pack_into(self._memory, 8, time.monotonic_ns(), Doing.WAITING, 0, 0)

    # The node reads.

    def look(self) -> Sight:
        beat_ns, since_ns, doing, _, _ = _HEADER.unpack_from(self._memory)
        return Sight(Doing(doing), since_ns, beat_ns)

    def suspects(self) -> dict[int, list[int]]:
        """Of a dead executor: offsets that it was decoding or computing, by lane."""
        _, _, doing, length, named = _HEADER.unpack_from(self._memory)
        found: dict[int, list[int]] = {}
        if doing not in (Doing.DECODING, Doing.COMPUTING):
            return found
        position, end = _HEADER.size + named, _HEADER.size + length
        while position < end:
            lane, count = _LANE.unpack_from(self._memory, position)
            start = position + _LANE.size
            position = start + 8 * count
            offsets: array[int] = array("q")
            offsets.frombytes(self._memory[start:position])
            found.setdefault(lane, []).extend(offsets.tolist())
        return found

    def computing(self) -> tuple[str, str]:
        """Of a dead executor: the version that was computing, and its tier; or empty ones."""
        version, _, tier = self._name(Doing.COMPUTING).partition(" ")
        return version, tier

    def loading(self) -> str:
        """Of a dead executor: the model that it was loading, or empty."""
        return self._name(Doing.LOADING)

    def shadowing(self) -> str:
        """Of a dead executor: the model that was computing as a shadow, or empty."""
        return self._name(Doing.SHADOWING)

    def _name(self, wanted: Doing) -> str:
        _, _, doing, _, named = _HEADER.unpack_from(self._memory)
        if doing != wanted:
            return ""
        return self._memory[_HEADER.size : _HEADER.size + named].decode()


def _packed(offsets: Sequence[int]) -> bytes:
    if isinstance(offsets, range):  # neighbours', mostly: no object for each
        return np.arange(offsets.start, offsets.stop, offsets.step, dtype=np.int64).tobytes()
    return array("q", offsets).tobytes()
