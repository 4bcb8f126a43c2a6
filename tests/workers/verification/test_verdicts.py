"""Backends that are broken on purpose, each in one way; a sound one passes."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from chimera.schemas.errors import ModelFailed, OutOfMemory
from chimera.schemas.manifest import TensorSpec
from chimera.schemas.tensors import Array
from chimera.workers.backends.protocol import DeviceLost
from chimera.workers.verification.cases import cases
from chimera.workers.verification.tolerances import TOLERANCES
from chimera.workers.verification.verdicts import Expected, expect, judge
from tests.workers.rig import manifest

WEIGHTS = np.array([[1, 2, -3], [0.5, -1, 2]], "f4")
MANIFEST = manifest(
    outputs=(
        TensorSpec("a", "FP32", (-1, 3)),
        TensorSpec("b", "FP32", (-1, 3)),
        TensorSpec("best", "INT64", (-1,)),
    )
)
SAMPLES = {"x": np.random.default_rng(1).standard_normal((20, 2)).astype("f4")}
ROWS = (1, 5, 7, 16)

Run = Callable[[Array], Sequence[Array]]


class Backend:
    tier = "synthetic"

    def __init__(self, run: Run) -> None:
        self._run = run

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        return self._run(inputs[0])


def sound(x: Array) -> list[Array]:
    a = x @ WEIGHTS
    return [a, np.tanh(a), a.argmax(1)]


@pytest.fixture(scope="module")
def expected() -> Expected:
    return expect(MANIFEST, Backend(sound), cases(MANIFEST, SAMPLES, ROWS))


def reason(expected: Expected, run: Run) -> str:
    return judge(Backend(run), expected, TOLERANCES["fp32"]).reason


def test_sound_backend_passes_each_check(expected: Expected) -> None:
    judgement = judge(Backend(sound), expected, TOLERANCES["fp32"])
    assert judgement.reason == ""
    assert {(check.case, check.rows) for check in judgement.checks} == {
        (case, rows) for case in ("samples", "zeros", "large", "denormal", "nan") for rows in ROWS
    }


def perturbed(x: Array) -> list[Array]:
    weights = WEIGHTS.copy()
    weights[1, 2] += np.float32(0.01)
    a = x @ weights
    return [a, np.tanh(a), a.argmax(1)]


def swapped(x: Array) -> list[Array]:
    a, b, best = sound(x)
    return [b, a, best]


def mistaken(x: Array) -> list[Array]:
    a = x @ WEIGHTS
    return [a, np.sin(a), a.argmax(1)]


def spoilt(x: Array) -> list[Array]:
    a, b, best = sound(x)
    b[-1, -1] = np.nan
    return [a, b, best]


def shuffled(x: Array) -> list[Array]:
    """Rows come out in another order: nothing but the pairing is wrong."""
    return [output[::-1] for output in sound(x)]


def wide(x: Array) -> list[Array]:
    return [*sound(x)[:2], sound(x)[2][:, None]]


def forgetful(x: Array) -> list[Array]:
    return sound(x)[:2]


def refusing(x: Array) -> list[Array]:
    raise ModelFailed("no")


def hungry(x: Array) -> list[Array]:
    if len(x) > 10:
        raise OutOfMemory("too much")
    return sound(x)


def leaky(x: Array) -> list[Array]:
    """NaN of one row reaches every row of its batch, as a scale of the whole batch makes it."""
    a, b, best = sound(x + np.float32(0) * x.sum())
    return [a, b, best]


def number_for_nan(x: Array) -> list[Array]:
    return sound(np.nan_to_num(x))


@pytest.mark.parametrize(
    ("run", "where"),
    [
        (perturbed, "samples@1"),
        (swapped, "samples@1"),
        (mistaken, "samples@1"),
        (spoilt, "samples@1"),
        (shuffled, "samples@5"),
        (wide, "samples@1"),
        (forgetful, "samples@1"),
        (refusing, "samples@1"),
        (hungry, "samples@16"),
        (leaky, "nan@5"),
        (number_for_nan, "nan@1"),
    ],
)
def test_broken_backend_is_caught(expected: Expected, run: Run, where: str) -> None:
    assert reason(expected, run).startswith(f"{where}: ")


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("run", [perturbed, swapped, mistaken, spoilt, refusing])
def test_backend_broken_at_one_batch_size_is_caught(
    expected: Expected, run: Run, rows: int
) -> None:
    broken = reason(expected, lambda x: run(x) if len(x) == rows else sound(x))
    assert broken.startswith(f"samples@{rows}: ")


EDGES: dict[str, Callable[[Array], bool]] = {
    "zeros": lambda x: not x.any(),
    "large": lambda x: bool(np.abs(x).max() > 20),
    "denormal": lambda x: bool(0 < np.max(np.abs(x)) < 1e-38),
}


@pytest.mark.parametrize("case", list(EDGES))
def test_backend_that_is_wrong_on_an_edge_alone_is_caught(expected: Expected, case: str) -> None:
    def run(x: Array) -> list[Array]:
        return [one + 1 for one in sound(x)] if EDGES[case](x) else sound(x)

    assert reason(expected, run).startswith(f"{case}@1: ")


def test_integers_made_of_nan_are_anybodys(expected: Expected) -> None:
    def other(x: Array) -> list[Array]:
        a, b, best = sound(x)
        best[np.isnan(x).any(1)] = 2
        return [a, b, best]

    assert reason(expected, other) == ""


def test_device_that_is_lost_ends_the_verification(expected: Expected) -> None:
    def lost(x: Array) -> list[Array]:
        raise DeviceLost("gone")

    with pytest.raises(DeviceLost):
        reason(expected, lost)


def test_reference_that_refuses_an_edge_leaves_it_out() -> None:
    def choosy(x: Array) -> list[Array]:
        if np.isnan(x).any() or not x.any():
            raise ModelFailed("such numbers are not taken")
        return sound(x)

    found = expect(MANIFEST, Backend(choosy), cases(MANIFEST, SAMPLES, (1, 5)))
    assert set(found.left_out) == {"zeros@1", "zeros@5", "nan@1", "nan@5"}
    assert "such numbers are not taken" in found.left_out["nan@5"]
    assert judge(Backend(choosy), found, TOLERANCES["fp32"]).reason == ""


@pytest.mark.parametrize(
    ("run", "why"), [(leaky, "spreads"), (number_for_nan, "does not pass NaN on")]
)
def test_nan_is_left_out_where_the_reference_does_not_keep_it_in_its_row(
    run: Run, why: str
) -> None:
    found = expect(MANIFEST, Backend(run), cases(MANIFEST, SAMPLES, (5,)))
    assert why in found.left_out["nan@5"]


def test_reference_that_refuses_its_samples_is_no_reference() -> None:
    with pytest.raises(ModelFailed):
        expect(MANIFEST, Backend(refusing), cases(MANIFEST, SAMPLES, (1,)))
