"""At which sizes a tier is warm, and that getting there takes no longer than it may."""

import time
from typing import Any

import pytest

from chimera.schemas.errors import OutOfMemory
from chimera.schemas.manifest import TensorSpec
from chimera.schemas.tensors import Array
from chimera.workers.warming import warm
from tests.workers.fakes import Plus
from tests.workers.rig import manifest


@pytest.mark.parametrize(
    ("fields", "measured", "expected"),
    [
        ({}, (), [1, 64]),
        ({}, (1, 32, 256), [1, 32, 64]),
        ({"max_batch_size": 0}, (1,), [1]),
        ({"inputs": (TensorSpec("x", "FP32", (-1, 1 << 21)),)}, (2,), [1, 2]),
    ],
    ids=["largest", "measured", "without batches", "too many bytes"],
)
def test_tier_is_warm_at_the_batch_sizes_that_it_will_meet(
    fields: dict[str, Any], measured: tuple[int, ...], expected: list[int]
) -> None:
    seen: list[int] = []
    warm(Plus(lambda rows: seen.append(len(rows))), manifest(**fields), 64, measured)
    assert list(dict.fromkeys(seen)) == expected
    assert min(map(seen.count, expected)) > 1, "until it is steady"


def test_warm_up_of_a_slow_tier_is_bounded_in_time() -> None:
    seen: list[int] = []

    def slow(rows: Array) -> None:
        seen.append(len(rows))
        time.sleep(0.05)

    warm(Plus(slow), manifest(), 64, (), within_s=0.02)
    assert seen == [1, 64], "a call is not cut short"


def test_size_that_does_not_fit_is_the_last_that_is_tried() -> None:
    seen: list[int] = []

    def small(rows: Array) -> None:
        seen.append(len(rows))
        if len(rows) > 1:
            raise OutOfMemory("too large")

    warm(Plus(small), manifest(), 64, (32,))
    assert seen[-2:] == [1, 32]
