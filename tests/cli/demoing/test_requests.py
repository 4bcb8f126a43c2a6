"""What the demo publishes: as many as were asked for, of each kind, and read by the codec as meant."""

import itertools
from collections import Counter

import numpy as np
import pytest

from chimera.cli.demoing import requests
from chimera.cli.demoing.requests import Digits, Plan
from chimera.schemas import inference
from chimera.schemas.errors import Malformed, RequestError
from tests.cli.demoing.conftest import LIMIT_BYTES
from tests.cli.demoing.records import every


@pytest.mark.parametrize("count", [20, 400, 1_000])
def test_plan_has_as_many_requests_as_asked_for_and_each_kind(digits: Digits, count: int) -> None:
    made = requests.plan(digits, count, LIMIT_BYTES)
    kinds = Counter(request.kind for request in every(made))
    assert len(made) == count
    assert set(kinds) == {
        "JSON",
        "binary",
        "broken JSON",
        "unknown model",
        "wrong shape",
        "wrong datatype",
        "expired deadline",
        "over the size limit",
    }
    assert abs(kinds["JSON"] - kinds["binary"]) <= 1
    assert len({request.id for request in every(made)}) == count
    assert all(request.code is None for request in made.paced)


def test_plan_is_read_by_the_codec_as_meant(plan: Plan, digits: Digits) -> None:
    for request in every(plan):
        head = int(dict(request.headers).get("inference-header-content-length", b"-1"))
        try:
            found = inference.decode(request.value, head)
        except RequestError as error:
            assert (request.kind, type(error)) == ("broken JSON", Malformed)
            continue
        if request.code is None:
            tensor = found.inputs["image"].array
            assert np.array_equal(tensor, digits.images[request.digit][None])


def test_plan_oversteps_the_limit_by_one_byte(plan: Plan) -> None:
    sizes = {len(one.value) for one in plan.burst if one.kind == "over the size limit"}
    assert sizes == {LIMIT_BYTES + 1}


def test_endless_requests_are_all_good_and_each_its_own(digits: Digits) -> None:
    found = list(itertools.islice(requests.endless(digits, "x"), 25))
    assert len({one.id for one in found}) == 25
    assert {one.kind for one in found} == {"JSON", "binary"}
    assert all(one.code is None for one in found)
