"""The requests that campaigns send: good ones with known answers, and poison with known codes.

A good request asks for twice its number, so an answer that went to the wrong request is seen. Each
poison kind is one that a careless or hostile producer sends; what must come back stands beside it.
`double` computes y = 2x; `divide` computes y = a / b in int64: b = 0 makes the model raise, and
-2^63 / -1 kills its process (SIGFPE), with no trick of a test inside the executor.
"""

import json
import random
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

Headers = list[tuple[str, str | bytes | None]]

OK = "ok"
MAX_BYTES = 65_536  # of a request, in campaigns
INT64_MIN = -(2**63)


@dataclass(frozen=True, slots=True)
class Case:
    """One request to send, and what must come back for it."""

    kind: str
    value: bytes | None
    expected: str = OK  # an error code, or OK; several, joined by |, where time decides
    answer: float | None = None  # of a good request
    headers: Headers | None = None
    ordered: bool = True  # its results keep the order of its key


def good(number: int) -> Case:
    """JSON, answered with 2 * number."""
    return Case("good", _json(number), answer=2.0 * number)


def padded(number: int, size_bytes: int) -> Case:
    """A good request of exactly that many bytes."""
    value = _json(number)
    return Case(f"good of {size_bytes} bytes", value.ljust(size_bytes), answer=2.0 * number)


def binary(number: int) -> Case:
    """The same with a binary tensor."""
    tensor = struct.pack("<4f", number, 1, 2, 3)
    head = json.dumps(
        {
            "model_name": "double",
            "inputs": [
                {
                    "name": "x",
                    "shape": [1, 4],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": len(tensor)},
                }
            ],
        }
    ).encode()
    headers: Headers = [("inference-header-content-length", b"%d" % len(head))]
    return Case("binary", head + tensor, answer=2.0 * number, headers=headers)


def division(a: int, b: int, *, model: str = "divide", ordered: bool = True) -> Case:
    """a / b; see the module for what b = 0 and -2^63 / -1 do."""
    inputs = [
        {"name": name, "shape": [1, 1], "datatype": "INT64", "data": [number]}
        for name, number in (("a", a), ("b", b))
    ]
    value = json.dumps({"model_name": model, "inputs": inputs}).encode()
    if (a, b) == (INT64_MIN, -1):
        return Case("killer", value, "worker_crashed", ordered=ordered)
    if b == 0:
        return Case("raises", value, "model_error", ordered=ordered)
    return Case("division", value, answer=float(int(a / b)), ordered=ordered)


def oversized(number: int, limit_bytes: int) -> Case:
    return Case("oversize", _json(number).ljust(limit_bytes + 1), "too_large")


def wide(number: int) -> Case:
    """Answered with 20,000 numbers, which is over any limit that campaigns set."""
    return Case("wide", _json(number).replace(b'"double"', b'"wide"'), "too_large")


def counting(steps: int, expected: str = OK, deadline_ms: int = 0) -> Case:
    """A model that needs time: some tenths of a microsecond for each step."""
    tensor = {"name": "x", "shape": [1], "datatype": "INT64", "data": [steps]}
    value = json.dumps({"model_name": "loop", "inputs": [tensor]}).encode()
    headers: Headers = [("chimera-deadline", b"%d" % deadline_ms)] if deadline_ms else []
    return Case("counting", value, expected, answer=float(steps), headers=headers)


def _json(number: int, **changes: object) -> bytes:
    tensor: dict[str, object] = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
    tensor |= {"data": [number, 1, 2, 3], **changes}
    return json.dumps({"model_name": "double", "id": f"n{number}", "inputs": [tensor]}).encode()


def _headed(number: int, *headers: tuple[str, bytes | None]) -> tuple[bytes, Headers]:
    return _json(number), list(headers)


def _past() -> bytes:
    return b"%d" % (time.time_ns() // 1_000_000 - 60_000)


# kind: (what must come back, its value and headers from a number)
_POISON: dict[str, tuple[str, Callable[[int], tuple[bytes | None, Headers]]]] = {
    "broken JSON": ("malformed", lambda n: (_json(n)[:-7], [])),
    "bad UTF-8": ("malformed", lambda n: (_json(n).replace(b'"n', b'"\xff\xfe'), [])),
    "not a number": ("malformed", lambda n: (_json(n).replace(b"[%d" % n, b"[NaN"), [])),
    "deep nesting": ("malformed", lambda _: (b'{"more":' + b"[" * 50_000, [])),
    "tombstone": ("malformed", lambda _: (None, [])),
    "bad head length": (
        "malformed",
        lambda n: _headed(n, ("inference-header-content-length", b"-4")),
    ),
    "head past the end": (
        "malformed",
        lambda n: _headed(n, ("inference-header-content-length", b"999999")),
    ),
    "wrong shape": ("schema_invalid", lambda n: (_json(n, shape=[1, 5], data=[n] * 5), [])),
    "wrong datatype": ("schema_invalid", lambda n: (_json(n, datatype="INT64"), [])),
    "wrong count": ("schema_invalid", lambda n: (_json(n, data=[n, 1, 2]), [])),
    "not an object": ("schema_invalid", lambda n: (b"%d" % n, [])),
    "header twice": (
        "schema_invalid",
        lambda n: _headed(n, ("chimera-tenant", b"a"), ("chimera-tenant", b"b")),
    ),
    "header not UTF-8": ("schema_invalid", lambda n: _headed(n, ("chimera-model", b"\xff\xfe"))),
    "unknown model": (
        "unknown_model",
        lambda n: (_json(n).replace(b'"double"', b'"nobody"'), []),
    ),
    "expired": ("deadline_exceeded", lambda n: _headed(n, ("chimera-deadline", _past()))),
}

POISON = (*_POISON, "oversize")


def poison(kind: str, number: int, limit_bytes: int) -> Case:
    """One of `POISON`."""
    if kind == "oversize":
        return oversized(number, limit_bytes)
    expected, make = _POISON[kind]
    value, headers = make(number)
    return Case(kind, value, expected, headers=headers)


@dataclass(frozen=True, slots=True)
class Mix:
    """What share of requests is binary, and what share is poison."""

    binary: float = 0.2
    poison: float = 0.01
    limit_bytes: int = MAX_BYTES

    def draw(self, rng: random.Random, number: int) -> Case:
        chance = rng.random()
        if chance < self.poison:
            return poison(rng.choice(POISON), number, self.limit_bytes)
        return binary(number) if chance < self.poison + self.binary else good(number)
