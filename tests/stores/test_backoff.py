"""Pauses grow, end at a ceiling, and are never nothing."""

from hypothesis import given
from hypothesis import strategies as st

from chimera.stores.backoff import FIRST_S, MOST_S, pause_s

CHANCES = st.floats(0, 1, exclude_max=True)


def test_pauses_double_up_to_the_ceiling() -> None:
    pauses = [pause_s(attempts, 0.0, first_s=0.1, most_s=1.0) for attempts in range(1, 7)]
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]


@given(attempts=st.integers(1, 10_000), chance=CHANCES)
def test_pause_is_at_least_half_of_the_whole(attempts: int, chance: float) -> None:
    whole = pause_s(attempts, 0.0) * 2
    assert whole / 2 <= pause_s(attempts, chance) <= whole
    assert FIRST_S <= whole <= MOST_S


@given(chance=CHANCES, other=CHANCES)
def test_chance_spreads_what_would_come_at_once(chance: float, other: float) -> None:
    assert (pause_s(8, chance) < pause_s(8, other)) == (chance < other) or abs(
        chance - other
    ) < 1e-9
