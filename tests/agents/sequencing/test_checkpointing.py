"""When heads are signed, and what may not be signed."""

from pathlib import Path

import pytest

from chimera.agents.sequencing.checkpointing import Cadence, Checkpointing, require_extends
from chimera.schemas.errors import ConfigurationError, HistoryConflict
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.stores.checkpoint_file import CheckpointFile
from tests.schemas.transparency.logs import KEY, ORIGIN, make_log

CADENCE = Cadence(leaves=1_000, seconds=10, idle_seconds=3_600)
LOG = make_log(9)


def tree(size: int) -> CompactRange:
    return CompactRange().extend(LOG.leaf_hashes[:size])


@pytest.mark.parametrize(
    ("leaves", "seconds", "due"),
    [
        (999, 9.9, False),
        (1_000, 0.0, True),
        (1, 10.0, True),
        (0, 3_599.0, False),
        (0, 3_600.0, True),
    ],
)
def test_head_is_due_by_count_by_time_and_hourly(leaves: int, seconds: float, due: bool) -> None:
    assert CADENCE.is_due(leaves, seconds) is due


def test_heads_are_signed_at_once_after_a_start_and_then_in_time(tmp_path: Path) -> None:
    file, steps = CheckpointFile(tmp_path / "c"), list[str]()
    signing = Checkpointing(ORIGIN, KEY, file, CADENCE, steps.append)
    signing.begin(4, now_s=50.0)
    assert not signing.is_due(4, 50.0)
    assert signing.is_due(9, 50.0)
    note = signing.sign(tree(9), 50.0)
    assert note.encode() == LOG.checkpoint(9) == file.last()
    assert steps == ["before_checkpoint", "after_checkpoint"]
    assert not signing.is_due(9, 60.0)
    assert signing.is_due(9, 50.0 + 3_600)
    with pytest.raises(HistoryConflict):
        signing.sign(tree(3), 61.0)
    assert checkpoints.split(file.path.read_bytes()) == [note.encode()]


def test_witnesses_that_lack_are_asked_again_in_time(tmp_path: Path) -> None:
    signing = Checkpointing(ORIGIN, KEY, CheckpointFile(tmp_path / "c"), CADENCE, lambda _: None)
    assert signing.to_ask(1e9) is None
    signing.lacks(LOG.note(4), now_s=50.0)
    assert signing.to_ask(59.9) is None
    assert signing.to_ask(60.0) == LOG.note(4)
    signing.lacks(None, now_s=60.0)
    assert signing.to_ask(1e9) is None


def test_log_that_does_not_extend_what_was_signed_is_not_signed() -> None:
    require_extends(LOG.head(4), ORIGIN, tree(4), tree(9))
    require_extends(LOG.head(9), ORIGIN, tree(9), tree(9))
    with pytest.raises(ConfigurationError, match="ORIGIN"):
        require_extends(LOG.head(4), "example.com/other", tree(4), tree(9))
    with pytest.raises(HistoryConflict, match="9 leaves were signed, and 4"):
        require_extends(LOG.head(9), ORIGIN, tree(4), tree(4))
    forked = Checkpoint(ORIGIN, 4, bytes(32))
    with pytest.raises(HistoryConflict, match="not the one signed"):
        require_extends(forked, ORIGIN, tree(4), tree(9))
