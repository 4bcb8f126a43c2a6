"""A lock is one process's, tells its holder, and is free when the holder is gone."""

import os
from pathlib import Path

from chimera.cli.stack import locks


def test_take_of_a_free_file_makes_us_its_holder(tmp_path: Path) -> None:
    lock = locks.take(tmp_path / "lock")
    assert lock is not None
    assert locks.holder(tmp_path / "lock") == os.getpid()
    os.close(lock)
    assert locks.holder(tmp_path / "lock") is None


def test_take_of_a_held_file_gives_up_in_time(tmp_path: Path) -> None:
    lock = locks.take(tmp_path / "lock")
    assert lock is not None
    assert locks.take(tmp_path / "lock", within_s=0.1) is None
    os.close(lock)


def test_holder_of_a_file_that_is_not_there_is_nobody(tmp_path: Path) -> None:
    assert locks.holder(tmp_path / "lock") is None


def test_take_forgets_a_pid_that_was_left_behind(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("99999999\n")
    assert locks.holder(tmp_path / "lock") is None
    lock = locks.take(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    os.close(lock or 0)
