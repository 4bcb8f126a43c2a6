"""The file of checkpoints: appended, never back, and whole after a death at any byte."""

import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chimera.schemas.errors import ConfigurationError, DiskUnavailable, EvidenceMalformed
from chimera.schemas.transparency import checkpoints
from chimera.stores.checkpoint_file import CheckpointFile
from tests.schemas.transparency.logs import make_log

LOG = make_log(9)


def test_file_has_what_was_appended(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "deep" / "checkpoints.txt")
    assert file.last() is None
    notes = [LOG.checkpoint(size) for size in (0, 4, 4, 9)]
    assert all(map(file.append, notes))
    assert file.last() == notes[-1]
    assert checkpoints.split(file.path.read_bytes()) == notes


def test_file_does_not_go_back(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoints.txt")
    assert file.append(LOG.checkpoint(5))
    assert not file.append(LOG.checkpoint(4))
    assert checkpoints.split(file.path.read_bytes()) == [LOG.checkpoint(5)]


def test_last_one_that_is_cut_is_taken_away(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoints.txt")
    first, second = LOG.checkpoint(3, "w1"), LOG.checkpoint(7, "w1", "w2")
    whole = checkpoints.join([first, second])
    for cut in range(len(first) + 1, len(whole)):
        file.path.write_bytes(whole[:cut])
        assert file.last() == first
        assert file.append(LOG.checkpoint(8))
        assert checkpoints.split(file.path.read_bytes()) == [first, LOG.checkpoint(8)]


def test_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError):
        CheckpointFile(tmp_path / "file" / "checkpoints.txt").last()
    other = CheckpointFile(tmp_path / "other")
    other.path.write_bytes(b"x" * 1_000_000)
    with pytest.raises(EvidenceMalformed):
        other.append(LOG.checkpoint(3))


@contextmanager
def full_at(size_bytes: int) -> Generator[None]:
    """No file of this process grows beyond it; a write over the edge takes what fits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_is_told_as_such_and_works_again_with_room(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoints.txt")
    first, second = LOG.checkpoint(3), LOG.checkpoint(7)
    assert file.append(first)
    for room in (1, len(second) - 1):  # bytes
        with full_at(len(checkpoints.join([first])) + room), pytest.raises(DiskUnavailable):
            file.append(second)
        assert file.last() == first
    assert file.append(second)
    assert checkpoints.split(file.path.read_bytes()) == [first, second]
