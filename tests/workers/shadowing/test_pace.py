"""Shadow batches grow to what takes the given time, and shrink to one row where that takes longer."""

from hypothesis import given
from hypothesis import strategies as st

from chimera.workers.shadowing.pace import FIRST_ROWS, Pace


def settled(row_us: int, call_us: int = 0, batch_us: int = 5_000, max_rows: int = 256) -> int:
    pace = Pace(batch_us, max_rows)
    for _ in range(40):
        pace.note(pace.rows, call_us + pace.rows * row_us)
    return pace.rows


def test_it_begins_small_and_at_most_doubles() -> None:
    pace = Pace(5_000, 256)
    assert pace.rows == FIRST_ROWS
    pace.note(FIRST_ROWS, 1)
    assert pace.rows == 2 * FIRST_ROWS


def test_small_batches_tell_nothing_of_larger_ones() -> None:
    pace = Pace(5_000, 256)
    pace.note(1, 4_000)
    assert pace.rows == FIRST_ROWS


def test_one_row_goes_however_long_it_takes() -> None:
    assert settled(row_us=1_000_000) == 1


def test_the_model_s_largest_batch_is_the_limit() -> None:
    assert settled(row_us=1, max_rows=32) == 32
    assert Pace(5_000, 1).rows == 1


@given(st.integers(1, 20_000), st.integers(0, 4_000))
def test_it_settles_where_a_batch_takes_the_given_time(row_us: int, call_us: int) -> None:
    rows = settled(row_us, call_us)
    assert rows == 1 or call_us + rows * row_us <= 5_000
