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


def test_tier_that_ended_an_executor_is_at_fault_while_another_is_left() -> None:
    toll, loaded = Toll(), ("onnx-cpu", "torch-cpu")
    assert toll.is_tiers_fault("digits/1", "onnx-cpu", loaded)
    assert toll.is_tiers_fault("digits/1", "onnx-cpu", loaded)
    assert toll.tiers == {"digits/1": {"onnx-cpu": 2}}
    assert not toll.is_tiers_fault("digits/1", "torch-cpu", loaded)
    assert toll.tiers == {}, "the requests did it: all tiers are asked again"


def test_the_only_tier_is_never_at_fault() -> None:
    toll = Toll()
    assert not toll.is_tiers_fault("digits/1", "onnx-cpu", ("onnx-cpu",))
    assert toll.tiers == {}


def test_tier_that_computed_since_is_asked_first_again() -> None:
    toll, loaded = Toll(), ("onnx-cpu", "torch-cpu")
    toll.is_tiers_fault("digits/1", "onnx-cpu", loaded)
    toll.acquit("digits/1", "onnx-cpu")
    toll.acquit("words/7", "onnx-cpu")
    assert not toll.tiers.get("digits/1")
    assert toll.is_tiers_fault("digits/1", "torch-cpu", loaded)
