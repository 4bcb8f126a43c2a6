"""All parts arrive, whatever their sizes; nothing is left to the kernel to write out later."""

import ctypes
import sys
from pathlib import Path
from typing import IO

import pytest

from chimera.stores import gentle_file
from chimera.stores.gentle_file import PART_BYTES

CACHESTAT = 451  # Linux 6.5


@pytest.mark.parametrize("sizes", [(), (0,), (1,), (PART_BYTES,), (3 * PART_BYTES + 5, 0, 7)])
def test_parts_arrive_in_their_order(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    parts = [bytes([number]) * size for number, size in enumerate(sizes, 1)]
    with (tmp_path / "file").open("wb") as file:
        file.write(b"before")
        gentle_file.write(file, parts)
        file.write(b"after")
    assert (tmp_path / "file").read_bytes() == b"before" + b"".join(parts) + b"after"


def test_nothing_is_left_to_be_written_out(tmp_path: Path) -> None:
    part = bytes(PART_BYTES)
    with (tmp_path / "plain").open("wb") as plain, (tmp_path / "gentle").open("wb") as gentle:
        plain.write(part)
        plain.flush()
        if not waiting(plain):
            pytest.skip("the kernel does not tell, or nothing waits for this disk")
        gentle_file.write(gentle, [part] * 4)
        assert waiting(gentle) == 0


def waiting(file: IO[bytes]) -> int:
    """Pages of a file that are not on the disk."""
    if sys.platform != "linux":
        return 0
    everything, told = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * 5)()
    if ctypes.CDLL(None).syscall(CACHESTAT, file.fileno(), everything, told, 0):
        return 0
    _, dirty, written_out, *_ = told
    return int(dirty + written_out)
