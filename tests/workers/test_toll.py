"""Who is left out after deaths, and who is not any more."""

from chimera.schemas.placements import Shadow, Shadows
from chimera.workers.toll import Toll, names

SHADOWS: Shadows = {"digits": Shadow("2"), "words": Shadow("7", 0.5)}


def test_a_version_that_ended_two_executors_while_it_was_loaded_is_refused() -> None:
    toll = Toll()
    toll.count_loading("digits/1")
    assert not toll.refused
    toll.count_loading("digits/1")
    assert list(toll.refused) == ["digits/1"]


def test_a_shadow_that_ended_two_executors_is_dropped_and_the_others_stay() -> None:
    toll = Toll()
    assert toll.count_shadowing({"digits/2"}) == frozenset()
    assert toll.spare(SHADOWS) == SHADOWS
    assert toll.count_shadowing({"digits/2"}) == {"digits/2"}
    assert toll.count_shadowing({"digits/2"}) == frozenset(), "it is told once"
    assert toll.spare(SHADOWS) == {"words": Shadow("7", 0.5)}
    assert toll.dropped == {"digits/2"}


def test_a_shadow_that_is_ordered_anew_gets_another_chance() -> None:
    toll = Toll()
    for _ in range(2):
        toll.count_shadowing(names(SHADOWS))
    toll.forgive(SHADOWS)
    assert toll.spare(SHADOWS) == {}
    toll.forgive({"words": SHADOWS["words"]})
    assert toll.spare(SHADOWS) == {"digits": Shadow("2")}


def test_a_version_that_is_ordered_again_is_loaded_again() -> None:
    toll = Toll()
    for _ in range(2):
        toll.count_loading("digits/2")
        toll.count_loading("words/7")
    toll.load_again(["digits/2"])
    assert list(toll.refused) == ["words/7"]
