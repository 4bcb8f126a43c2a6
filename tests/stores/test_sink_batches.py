"""From where a partition goes on, for each way in which a table and what was written down may differ."""

import pytest

from chimera.schemas.errors import HistoryConflict
from chimera.stores.sink_batches import NOTHING, Decided, Found, Known, goes_on

BATCH = Decided(10, 19, 5, "t", "one", 2)
OPENING = Decided(20, 19, 0, "", "one", 3)


@pytest.mark.parametrize(
    ("found", "known", "start", "repeats"),
    [
        (Found(None, 0, False), NOTHING, 0, False),  # at the very beginning
        (Found(None, 90, True), NOTHING, 0, False),  # another ClickHouse, or an emptied folder
        (Found(None, 90, False), NOTHING, 0, False),
        (Found(7, 90, True), NOTHING, 7, False),  # what was written down has expired
        (Found(20, 90, True), Known(BATCH, 10), 20, False),  # of yesterday, brought back
        (Found(20, 10, False), Known(BATCH, 10), 20, False),  # inserted, and not committed yet
        (Found(10, 10, False), Known(BATCH, 10), 10, True),  # decided, and not inserted
        (Found(10, 90, False), Known(BATCH, 10), 10, True),  # the same of yesterday
        (Found(10, 10, True), Known(BATCH, 10), 10, True),
        (Found(None, 0, False), Known(BATCH, 0), 0, True),  # the first one
        (Found(None, 10, True), Known(BATCH, 10), 10, True),  # all before it went by retention
        (Found(None, 20, True), Known(BATCH, 10), 20, False),  # and it, too
        (Found(20, 20, False), Known(OPENING, 0), 20, False),
        (Found(None, 20, True), Known(OPENING, 0), 20, False),
        (Found(None, 0, True, "two"), Known(BATCH, 10), 0, False),  # nothing is left of the old one
        (Found(20, 20, False, "one", 20), Known(BATCH, 10), 20, False),
        (Found(None, 0, True, "", 15), Known(BATCH, 10), 0, False),  # a shorter topic, and no rows
        (Found(20, 20, False, "two"), Known(Decided(10, 19, 5, "t"), 10), 20, False),  # not told
    ],
)
def test_partition_goes_on_at(found: Found, known: Known, start: int, repeats: bool) -> None:
    assert goes_on(found, known) == (start, known.last if repeats else None)


@pytest.mark.parametrize(
    ("found", "known", "said"),
    [
        (Found(12, 0, False), Known(BATCH, 10), "inside a batch of 10 to 19"),
        (Found(9, 0, False), Known(BATCH, 10), "end before offset 9, and those before 10"),
        (Found(9, 90, True), Known(BATCH, 10), "end before offset 9, and those before 10"),
        (Found(None, 0, False), Known(BATCH, 10), "end before offset 0, and those before 10"),
        (Found(19, 0, True), Known(OPENING, 0), "end before offset 19, and those before 20"),
        (Found(20, 0, True, "two"), Known(BATCH, 10), "another topic"),
        (
            Found(20, 0, True, "one", 19),
            Known(BATCH, 10),
            "its topic ends at 19: that was made anew",
        ),
        (Found(20, 0, True, "one", 19), NOTHING, "its topic ends at 19: that was made anew"),
    ],
)
def test_what_would_lose_rows_is_refused(found: Found, known: Known, said: str) -> None:
    with pytest.raises(HistoryConflict, match=said):
        goes_on(found, known)
