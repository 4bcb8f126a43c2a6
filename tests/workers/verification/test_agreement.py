"""When two versions answered alike: scores by their label, numbers by their nearness, else equality."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.tensors import Array
from chimera.workers.verification.agreement import Answered, agreeing
from tests.workers.rig import manifest

LABELS = ("cat", "dog", "eel")


def version(*datatypes: str, width: int = 3, **fields: Any) -> Manifest:
    outputs = [TensorSpec(f"y{at}", kind, (-1, width)) for at, kind in enumerate(datatypes)]
    return manifest(outputs=tuple(outputs), **fields)


NUMBERS, SCORES = version("FP32"), version("FP32", labels=LABELS)


def agreed(
    served: Sequence[Array], other: Sequence[Array], of: Manifest = NUMBERS, to: Manifest = NUMBERS
) -> list[bool]:
    one = Answered(of, "onnx-cpu", served)
    return list(map(bool, agreeing(one, Answered(to, "onnx-cpu", other))))


def floats(*rows: list[float]) -> Array:
    return np.array(rows, "f4")


PLAIN = floats([0.1, 0.2, 0.7], [0.8, 0.1, 0.1])


def test_numbers_agree_row_by_row_within_what_tiers_may_differ() -> None:
    other = PLAIN.copy()
    other[0, 0] += 2e-5
    other[1, 2] += 2e-3
    assert agreed([PLAIN], [other]) == [True, False]


def test_a_narrow_tier_may_differ_by_more() -> None:
    other = PLAIN + np.float32(0.03)
    assert agreed([PLAIN], [other]) == [False, False]
    one, two = Answered(NUMBERS, "onnx-cpu", [PLAIN]), Answered(NUMBERS, "onnx-cpu-int8", [other])
    assert agreeing(one, two).all() and agreeing(two, one).all()


def test_a_narrow_datatype_may_differ_by_more() -> None:
    one, other = PLAIN.astype("f2"), (PLAIN + np.float32(4e-3)).astype("f2")
    half = version("FP16")
    assert agreed([one], [other], half, half) == [True, True]
    assert agreed([PLAIN], [other.astype("f4")]) == [False, False]


def test_nearness_is_that_of_the_row_and_not_of_its_neighbours() -> None:
    large = floats([1e6, 0, 0], [1, 0, 0])
    other = floats([1e6, 1, 0], [1, 1, 0])
    assert agreed([large], [other]) == [True, False]


def test_tolerance_of_either_manifest_counts() -> None:
    other = PLAIN * np.float32(1.05)
    assert agreed([PLAIN], [other]) == [False, False]
    wide = version("FP32", tolerance=0.1)
    assert agreed([PLAIN], [other], of=wide) == agreed([PLAIN], [other], to=wide) == [True, True]


def test_scores_agree_by_their_largest_however_far_they_are() -> None:
    assert agreed([PLAIN], [floats([0.3, 0.3, 0.4], [1, 0, 2])], SCORES, SCORES) == [True, False]


def test_scores_that_are_as_large_are_both_the_largest() -> None:
    one, other = floats([0.5, 0.5 + 1e-6, 0]), floats([0.5 + 1e-6, 0.5, 0])
    assert agreed([one], [other], SCORES, SCORES) == [True]


def test_labels_are_compared_and_not_their_places() -> None:
    turned = version("FP32", labels=("dog", "eel", "cat"))
    assert agreed([PLAIN], [PLAIN[:, [1, 2, 0]]], SCORES, turned) == [True, True]
    assert agreed([PLAIN], [PLAIN], SCORES, turned) == [False, False]


def test_a_label_more_agrees_until_it_is_the_largest() -> None:
    more = version("FP32", width=4, labels=(*LABELS, "fox"))
    other = floats([0.1, 0.2, 0.6, 0.1], [0.3, 0.1, 0.1, 0.5])
    assert agreed([PLAIN], [other], SCORES, more) == [True, False]


def test_several_vectors_of_scores_in_a_row_agree_together() -> None:
    both = np.stack([PLAIN, PLAIN])
    other = both.copy()
    other[1, 0] = other[1, 0][::-1]
    assert agreed([both], [other], SCORES, SCORES) == [True, False]


@pytest.mark.parametrize("of", [NUMBERS, SCORES])
@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_special_numbers_agree_with_themselves_alone(of: Manifest, special: float) -> None:
    spoilt = PLAIN.copy()
    spoilt[1, 1] = special
    assert agreed([spoilt], [spoilt.copy()], of, of) == [True, True]
    assert agreed([PLAIN], [spoilt], of, of) == agreed([spoilt], [PLAIN], of, of) == [True, False]


def test_integers_and_text_are_equal_or_not() -> None:
    of = version("INT64", "BYTES", width=1)
    whole, text = np.array([[1], [2], [3]]), np.array([["a"], ["b"], ["c"]], object)
    other = np.array([["a"], ["x"], ["c"]], object)
    assert agreed([whole, text], [np.array([[1], [2], [9]]), other], of, of) == [True, False, False]


def test_an_output_that_is_missing_or_has_another_form_agrees_nowhere() -> None:
    of = version("FP32", "FP32")
    assert agreed([PLAIN, PLAIN], [PLAIN], of) == [False, False]
    assert agreed([PLAIN], [PLAIN, PLAIN + 9], NUMBERS, of) == [True, True]
    for other in (PLAIN[:, :2], PLAIN.astype("i4"), PLAIN[:, :, None]):
        assert agreed([PLAIN], [other]) == [False, False]


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 4), st.just(3)), elements=st.floats(width=32)
    )
)
def test_any_answer_agrees_with_itself(array: Array) -> None:
    assert all(agreed([array], [array.copy()]))
    assert all(agreed([array], [array.copy()], SCORES, SCORES))
