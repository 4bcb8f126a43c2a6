"""Samples of the first form are read; what is none is refused."""

import pytest

from chimera.schemas.errors import RequestError
from chimera.schemas.training_sample import TrainingSample, decode_sample, encode_sample


@pytest.mark.parametrize(
    ("value", "sample"),
    [
        (b'{"v":1,"id":"a","label":3}', TrainingSample(id="a", label=3.0)),
        (b'{"v":1,"id":"a","label":"cat"}', TrainingSample(id="a", label="cat")),
        (
            b'{"v":1,"id":"a","label":[1,"b"],"observed_ms":5,"source":"desk","more":0}',
            TrainingSample(id="a", label=(1.0, "b"), observed_ms=5, source="desk"),
        ),
    ],
)
def test_first_form_is_read(value: bytes, sample: TrainingSample) -> None:
    assert decode_sample(value) == sample
    assert decode_sample(encode_sample(sample)) == sample


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b'{"id":"a","label":1}',
        b'{"v":2,"id":"a","label":1}',
        b'{"v":1,"id":"","label":1}',
        b'{"v":1,"id":"a","label":null}',
        b'{"v":1,"id":"a","label":[]}',
        b'{"v":1,"id":"a","label":1,"observed_ms":-1}',
    ],
)
def test_what_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(RequestError, match="training sample"):
        decode_sample(value)
