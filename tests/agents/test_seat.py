"""Seats: who lives is left alone, who died is named."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from chimera.agents.seat import Seat

SITTING = """
import sys
from pathlib import Path
from chimera.agents.seat import Seat
seat = Seat(Path(sys.argv[1]), sys.argv[2])
print(seat.take(), flush=True)
seat.note(sys.argv[3])
print("noted", flush=True)
sys.stdin.read()
"""


@contextmanager
def member(folder: Path, group: str, name: str) -> Generator[subprocess.Popen[str]]:
    """A process that has taken a seat; killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", SITTING, str(folder), group, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.stdout.readline() == "noted\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_first_node_finds_nobody(tmp_path: Path) -> None:
    assert Seat(tmp_path / "members", "group").take() == []


def test_members_that_were_killed_are_named_once(tmp_path: Path) -> None:
    with member(tmp_path, "group", "first"), member(tmp_path, "group", "second"):
        pass
    seat = Seat(tmp_path, "group")
    assert sorted(seat.take()) == ["first", "second"]
    seat.note("third")
    assert Seat(tmp_path, "group").take() == []


def test_members_that_live_are_left_alone(tmp_path: Path) -> None:
    with member(tmp_path, "group", "first"):
        assert Seat(tmp_path, "group").take() == []


def test_seats_of_another_group_are_left_alone(tmp_path: Path) -> None:
    with member(tmp_path, "one/group", "first"):
        pass
    assert Seat(tmp_path, "another/group").take() == []
    assert Seat(tmp_path, "one/group").take() == ["first"]


def test_latest_name_counts(tmp_path: Path) -> None:
    with member(tmp_path, "group", "a-name-that-is-long"):
        pass
    first = Seat(tmp_path, "group")
    assert first.take() == ["a-name-that-is-long"]
    first.note("long-again")
    first.note("short")
    (file,) = tmp_path.iterdir()
    assert file.read_text() == "short"


def test_node_that_left_by_itself_leaves_nothing(tmp_path: Path) -> None:
    seat = Seat(tmp_path, "group")
    seat.take()
    seat.note("first")
    seat.leave()
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    seat = Seat(tmp_path / "file" / "members", "group")
    assert seat.take() == []
    seat.note("first")
    seat.leave()
