"""What the demo publishes: the held-out digits over and over, and bad requests among them. Pure.

Half of the digits go as JSON, half as raw tensors behind a JSON head. Each bad kind has the one
error code that it must get. `tests/cli/demoing/test_requests.py` reads them with the codec.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from chimera.cli.demoing.versions import MODEL
from chimera.schemas import headers as names
from chimera.schemas.errors import (
    DeadlineExceeded,
    Malformed,
    SchemaInvalid,
    TooLarge,
    UnknownModel,
)

CAMERAS = 16  # ordering keys
BAD_SHARE = 200  # one request of each bad kind in so many
OVERSIZE_AT_MOST = 3  # a megabyte each
PACED_SHARE, PACED_AT_MOST = 4, 600  # one in four, at most, is sent by the clock

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Digits:
    """The held-out digits: [n, 64] pixels, [n] labels; of each version its digest and its scores."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: Mapping[str, NDArray[np.float32]]  # by version, [n, 10]: its weights' own
    digests: Mapping[str, str]  # by version: what its results name


@dataclass(frozen=True, slots=True)
class Request:
    """One record to publish, and what must come of it."""

    id: str
    kind: str
    digit: int  # which of the held-out digits
    key: bytes
    value: bytes
    headers: Headers
    code: str | None = None  # the error it must get; None: it must be served


@dataclass(frozen=True, slots=True)
class Plan:
    burst: list[Request]  # as fast as they go
    paced: list[Request]  # by the clock: all of them good

    def __len__(self) -> int:
        return len(self.burst) + len(self.paced)


def plan(digits: Digits, count: int, limit_bytes: int) -> Plan:
    """`count` requests in all; a request value may have `limit_bytes`."""
    each = max(1, count // BAD_SHARE)
    bad = [
        make(digits, number % len(digits.labels), f"bad-{kind}-{number}".replace(" ", "-"))
        for kind, make in _bad(limit_bytes).items()
        for number in range(min(each, OVERSIZE_AT_MOST) if kind == OVERSIZE else each)
    ]
    served = list(itertools.islice(endless(digits, "digit"), count - len(bad)))
    paced = min(count // PACED_SHARE, PACED_AT_MOST, len(served))
    burst = served[paced:] + bad
    random.Random(0).shuffle(burst)
    return Plan(burst, served[:paced])


def endless(digits: Digits, prefix: str) -> Iterator[Request]:
    """Good requests, JSON and binary in turns, for as long as anybody takes them."""
    for number in itertools.count():
        make = _binary if number % 2 else _json
        yield make(digits, number % len(digits.labels), f"{prefix}-{number}")


Make = Callable[[Digits, int, str], Request]
BROKEN, OVERSIZE = "broken JSON", "over the size limit"


def _bad(limit_bytes: int) -> dict[str, Make]:
    def broken(digits: Digits, digit: int, name: str) -> Request:
        whole = _json(digits, digit, name).value
        return _request(BROKEN, digit, name, whole[: len(whole) // 2], Malformed.code)

    def unknown(digits: Digits, digit: int, name: str) -> Request:
        body = _body(digits, digit, name) | {"model_name": "no-such-model"}
        return _request("unknown model", digit, name, orjson.dumps(body), UnknownModel.code)

    def misshapen(digits: Digits, digit: int, name: str) -> Request:
        body = _body(digits, digit, name, shape=[1, 63], data=digits.images[digit, :63].tolist())
        return _request("wrong shape", digit, name, orjson.dumps(body), SchemaInvalid.code)

    def mistyped(digits: Digits, digit: int, name: str) -> Request:
        pixels = digits.images[digit].astype(int).tolist()
        body = _body(digits, digit, name, datatype="INT64", data=pixels)
        return _request("wrong datatype", digit, name, orjson.dumps(body), SchemaInvalid.code)

    def late(digits: Digits, digit: int, name: str) -> Request:
        value = _json(digits, digit, name).value
        hour_ago = b"%d" % (time.time_ns() // 1_000_000 - 3_600_000)
        headers = [(names.DEADLINE, hour_ago)]
        return _request(
            "expired deadline", digit, name, value, DeadlineExceeded.code, headers=headers
        )

    def oversize(digits: Digits, digit: int, name: str) -> Request:
        value = _json(digits, digit, name).value.ljust(limit_bytes + 1)
        return _request(OVERSIZE, digit, name, value, TooLarge.code)

    return {
        BROKEN: broken,
        "unknown model": unknown,
        "wrong shape": misshapen,
        "wrong datatype": mistyped,
        "expired deadline": late,
        OVERSIZE: oversize,
    }


def _json(digits: Digits, digit: int, name: str) -> Request:
    return _request("JSON", digit, name, orjson.dumps(_body(digits, digit, name)))


def _binary(digits: Digits, digit: int, name: str) -> Request:
    """Raw tensors in, and raw tensors asked for."""
    raw = digits.images[digit].tobytes()
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32"}
    body = {
        "model_name": MODEL,
        "id": name,
        "parameters": {"binary_data_output": True},
        "inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}],
    }
    head = orjson.dumps(body)
    headers = [(names.HEAD_LENGTH, b"%d" % len(head))]
    return _request("binary", digit, name, head + raw, headers=headers)


def _body(
    digits: Digits,
    digit: int,
    name: str,
    *,
    shape: list[int] | None = None,
    datatype: str = "FP32",
    data: list[Any] | None = None,
) -> dict[str, Any]:
    tensor = {
        "name": "image",
        "shape": shape or [1, 64],
        "datatype": datatype,
        "data": data or digits.images[digit].tolist(),
    }
    return {"model_name": MODEL, "id": name, "inputs": [tensor]}


def _request(
    kind: str,
    digit: int,
    name: str,
    value: bytes,
    code: str | None = None,
    *,
    headers: Headers | None = None,
) -> Request:
    key = b"camera-%d" % (digit % CAMERAS)
    return Request(name, kind, digit, key, value, headers or [], code)
