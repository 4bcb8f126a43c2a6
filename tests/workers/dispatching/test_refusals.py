from hypothesis import given
from hypothesis import strategies as st

from chimera.workers.dispatching.refusals import Refusals


@given(st.lists(st.none() | st.integers(1, 6), max_size=40))
def test_refusals_are_an_outage_when_enough_different_ones_came_in_a_row(
    story: list[int | None],
) -> None:
    """None: a request was computed."""
    found = Refusals(4)
    since: list[int] = []
    for one in story:
        if one is None:
            found.clear()
            since = []
        else:
            found.add(one)
            since.append(one)
        assert found.are_outage == (len(set(since)) >= 4)
        assert len(found) == min(4, len(set(since)))
