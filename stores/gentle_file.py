"""A large file, written a part at a time: each is on its way to the disk before the next is taken.

    write ── 1 MiB ── the kernel writes it out, and nothing else ── write ── ...

Whoever only writes leaves all of it to the kernel, which writes it out seconds later, in one go: while
it does, a broker on the same disk could not append to its logs for 150 ms after a model of 32 MiB.
This is no `fsync`: what was written is not there after a power cut. Linux; elsewhere it is written as
ever. `tests/stores/test_gentle_file.py`.
"""

import ctypes
import sys
from collections.abc import Iterable
from typing import IO

PART_BYTES = 1 << 20
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4  # linux/fs.h: SYNC_FILE_RANGE_...


def write(file: IO[bytes], parts: Iterable[bytes]) -> None:
    """All parts, from where an open file stands. Raises OSError."""
    written = file.tell()
    for part in parts:
        for at in range(0, len(part), PART_BYTES):
            file.write(part[at : at + PART_BYTES])
            file.flush()
            size = min(PART_BYTES, len(part) - at)
            _write_out(file.fileno(), written, size)
            written += size


def _write_out(fileno: int, offset: int, size: int) -> None:
    """Best effort: a file system that cannot do it does it later."""
    if sys.platform == "linux":
        ctypes.CDLL(None).sync_file_range(
            fileno,
            ctypes.c_int64(offset),
            ctypes.c_int64(size),
            ctypes.c_uint(_WAIT_BEFORE | _WRITE | _WAIT_AFTER),
        )
