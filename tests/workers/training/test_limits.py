"""What a trainer may allocate where nobody has said."""

from pathlib import Path

import pytest

from chimera.workers.training.limits import share_bytes, there_is_bytes


def test_share_is_half_of_what_there_is_parted_among_places() -> None:
    whole = there_is_bytes()
    assert whole > 1 << 28
    assert [share_bytes(places) for places in (0, 1, 4)] == [whole // 2, whole // 2, whole // 8]


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("0::/", "memory.max"),
        ("0::/a/b", "a/b/memory.max"),
        ("0::/a/b", "a/memory.max"),
        ("4:memory:/a", "memory/memory.limit_in_bytes"),
    ],
)
def test_cgroup_around_that_may_have_less_counts(tmp_path: Path, line: str, file: str) -> None:
    own, limit = tmp_path / "own", tmp_path / "groups" / file
    own.write_text(f"8:pids:/\n{line}\n")
    limit.parent.mkdir(parents=True)
    limit.write_text("268435456\n")
    assert there_is_bytes(tmp_path / "groups", own) == 1 << 28
    limit.write_text("max\n")
    assert there_is_bytes(tmp_path / "groups", own) > 1 << 28
