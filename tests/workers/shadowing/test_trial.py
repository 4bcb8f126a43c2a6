"""A shadow's answers, counted request by request: agreement, disagreement, and errors, which are both."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from chimera.schemas.errors import OutOfMemory
from chimera.schemas.manifest import TensorSpec
from chimera.schemas.tensors import Array
from chimera.workers.backends.protocol import DeviceLost
from chimera.workers.dispatching.dispatch import Dispatcher, Policy
from chimera.workers.dispatching.tier_order import Measured
from chimera.workers.dispatching.tiering import Tier, Tiers
from chimera.workers.repertoire import Served
from chimera.workers.results import Tails
from chimera.workers.shadowing.samples import Sample
from chimera.workers.shadowing.trial import Finding, Trial
from tests.workers import fakes
from tests.workers.rig import manifest

Run = Callable[[Array], Array]


def plus_one(rows: Array) -> Array:
    return np.ascontiguousarray(rows[:, 1:] + 1)


class Does:
    def __init__(self, run: Run, tier: str = "onnx-cpu") -> None:
        self._run, self.tier = run, tier
        self.sizes: list[int] = []

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        self.sizes.append(len(inputs[0]))
        return [self._run(inputs[0])]


def shadow(*backends: Does, **fields: Any) -> Served:
    one = fakes.served(version="2", **fields)
    tiers = [Tier(backend, Tails("hostile", "0" * 64, backend.tier)) for backend in backends]
    measured = [Measured(one.tier, True, {1: float(at + 1)}) for at, one in enumerate(backends)]
    dispatcher = Dispatcher("hostile/2", measured, Policy()) if len(backends) > 1 else None
    return Served(one.manifest, one.digest, Tiers(tiers, dispatcher), one.policy, one.batches)


def sample(*marks: int, rows: int = 1, of: Served | None = None) -> Sample:
    """Requests of so many rows each, answered by `plus_one`; a mark stands in each row's first place."""
    total = len(marks) * rows
    given = np.stack([np.repeat(marks, rows), np.arange(total)], 1).astype("f4")
    ends = np.cumsum([rows] * len(marks))
    return Sample(of or fakes.served(), "onnx-cpu", [given], [plus_one(given)], ends)


def counted(found: Finding) -> tuple[int, int, int]:
    return found.compared, found.disagreed, found.errors


def wrong_where_marked(rows: Array) -> Array:
    return np.asarray(plus_one(rows) + (rows[:, :1] == 1))


def refuses_marked(rows: Array) -> Array:
    if 1 in rows[:, 0]:
        raise ValueError("poison")
    return plus_one(rows)


def test_what_differs_is_counted_in_requests() -> None:
    found = Trial(shadow(Does(wrong_where_marked)), sample(0, 1, 0, 1, 1, rows=3)).run()
    assert counted(found) == (5, 3, 0)


def test_one_row_that_differs_is_its_request_s_disagreement() -> None:
    one = sample(0, 0, rows=4)
    one.inputs[0][5, 0] = 1
    assert counted(Trial(shadow(Does(wrong_where_marked)), one).run()) == (2, 1, 0)


def test_errors_are_the_culprits_alone() -> None:
    backend = Does(refuses_marked)
    found = Trial(shadow(backend), sample(0, 0, 1, 0, 0, 0, 0, 1)).run()
    assert counted(found) == (8, 2, 2)
    assert backend.sizes[0] == 8


@pytest.mark.parametrize("error", [MemoryError(), OutOfMemory("no room"), KeyError("x")])
def test_whatever_a_shadow_raises_is_counted(error: Exception) -> None:
    def raises(_: Array) -> Array:
        raise error

    assert counted(Trial(shadow(Does(raises)), sample(0, 0, 0)).run()) == (3, 3, 3)


def test_a_lost_device_is_not_survived() -> None:
    def lose(_: Array) -> Array:
        raise DeviceLost("illegal address")

    with pytest.raises(DeviceLost):
        Trial(shadow(Does(lose)), sample(0)).run()


def test_other_rows_than_it_was_given_are_an_error() -> None:
    found = Trial(shadow(Does(lambda rows: plus_one(rows)[:1])), sample(0, 0, 0)).run()
    assert counted(found) == (3, 3, 3)


def test_the_next_tier_computes_what_the_first_cannot() -> None:
    def broken(_: Array) -> Array:
        raise ZeroDivisionError

    found = Trial(shadow(Does(broken), Does(plus_one, "torch-cpu")), sample(0, 0)).run()
    assert counted(found) == (2, 0, 0)


def test_requests_that_it_would_not_take_are_errors() -> None:
    renamed = (TensorSpec("z", "FP32", (-1, 2)),)
    wider = (TensorSpec("x", "FP32", (-1, 3)),)
    whole = (TensorSpec("x", "INT64", (-1, 2)),)
    for inputs in (renamed, wider, whole):
        backend = Does(plus_one)
        found = Trial(shadow(backend, inputs=inputs), sample(0, 0)).run()
        assert counted(found) == (2, 2, 2)
        assert not backend.sizes
    narrow = shadow(Does(plus_one), max_batch_size=2)
    assert counted(Trial(narrow, sample(0, rows=3)).run()) == (1, 1, 1)


def test_versions_that_batch_and_that_do_not_are_compared_request_by_request() -> None:
    backend = Does(wrong_where_marked)
    alone = shadow(backend, max_batch_size=0)
    assert counted(Trial(alone, sample(0, 1, 0, rows=2)).run()) == (3, 1, 0)
    assert backend.sizes == [2, 2, 2]
    single = Sample(
        fakes.served(max_batch_size=0), "onnx-cpu", [np.zeros((2, 2), "f4")],
        [np.ones((2, 1), "f4")], np.ones(1, np.intp),
    )  # fmt: skip
    assert counted(Trial(shadow(Does(plus_one)), single).run()) == (1, 0, 0)


def test_inputs_go_to_it_in_its_own_order() -> None:
    specs = (TensorSpec("a", "FP32", (-1, 1)), TensorSpec("b", "FP32", (-1, 1)))
    seen: list[list[float]] = []

    class Sees:
        tier = "onnx-cpu"

        def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
            seen.append([float(one[0, 0]) for one in inputs])
            return [inputs[0] - inputs[1]]

    base = fakes.served()
    one = Served(manifest(inputs=specs), "1", base.tiers, base.policy, True)
    tiers = Tiers([Tier(Sees(), Tails("m", "0" * 64, "onnx-cpu"))])
    other = Served(manifest(inputs=specs[::-1]), "2", tiers, base.policy, True)
    a, b = np.full((1, 1), 1, "f4"), np.full((1, 1), 2, "f4")
    found = Trial(other, Sample(one, "onnx-cpu", [a, b], [b - a], np.ones(1, np.intp))).run()
    assert seen == [[2.0, 1.0]]
    assert counted(found) == (1, 0, 0)
