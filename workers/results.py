"""Result records as they go on the wire: a response's value and all its headers, at batch speed.

What a model, a batch, and a work's part of it have in common is encoded once; a record adds its
value, its length and its offset. The event's id is made of the request's coordinates and
generation, so that whoever sees it twice knows it; a retried request keeps the coordinates that its
producer knows. `tests/workers/test_results.py` reads the headers back.
"""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chimera.schemas import headers as names
from chimera.schemas.headers import SMALL, VARINTS, header, headers, varint
from chimera.schemas.responses import Plain, Response

_COMMON = 15  # headers that every result has
_NO_EXTRA: Mapping[str, str] = {}


class Coordinates(NamedTuple):
    """Where requests came from first."""

    topic: str
    partition: int
    generation: str = "0"


class Told(NamedTuple):
    """What the headers tell of one batch; times in microseconds."""

    size: int
    queue_us: int
    compute_us: int
    total_us: int


class Tails:
    """Makes the tails of one model's results."""

    def __init__(self, model: str, digest: str, tier: str) -> None:
        self._constant = headers(
            (
                (names.CE_SPECVERSION, b"1.0"),
                (names.CE_TYPE, names.RESULT_TYPE.encode()),
                (names.CE_SOURCE, f"/chimera/models/{model}".encode()),
                (names.MODEL_DIGEST, digest.encode()),
                (names.TIER, tier.encode()),
            )
        )

    def batch(self, told: Told) -> bytes:
        """Headers that all requests of one lane share in a batch; a moment of time among them."""
        return self._constant + headers(
            (
                (names.CE_TIME, _now()),
                (names.BATCH_SIZE, b"%d" % told.size),
                (names.QUEUE_US, b"%d" % told.queue_us),
                (names.COMPUTE_US, b"%d" % told.compute_us),
                (names.TOTAL_US, b"%d" % told.total_us),
            )
        )


class Lot:
    """Tails of one lane's requests in one batch; `shared` is from `Tails.batch`."""

    def __init__(self, shared: bytes) -> None:
        self._shared = shared
        self._around: dict[tuple[Coordinates, int, int, bool], tuple[bytes, bytes]] = {}

    def plain(self, where: Coordinates, offsets: Sequence[int], responses: Plain) -> list[bytes]:
        """Tails of neighbours in one partition; their values are joined here, not before."""
        found: list[bytes] = []
        start, before, after, join = *responses.around, b"".join
        digits = 0
        rest = between = b""
        for offset, name, row, length in zip(
            offsets, responses.ids, responses.rows, responses.sizes, strict=True
        ):
            number = b"%d" % offset
            if len(number) != digits:
                digits = len(number)
                rest, between = self._pieces((where, digits, 0, False))
                rest = after + rest
            size = VARINTS[length] if length < SMALL else varint(length)
            found.append(join((size, start, name, before, row, rest, number, between, number)))
        return found

    def one(
        self, where: Coordinates, offset: int, response: Response, traceparent: str | None
    ) -> bytes:
        """One tail of a request, or a response, that has something of its own."""
        value, head = response
        number = b"%d" % offset
        extra = b""
        if head >= 0:
            extra = header(names.HEAD_LENGTH, b"%d" % head)
        if traceparent is not None:
            extra += header(names.TRACEPARENT, traceparent.encode())
        more = (head >= 0) + (traceparent is not None)
        before, between = self._pieces((where, len(number), more, head >= 0))
        return b"".join((varint(len(value)), value, before, number, between, number, extra))

    def _pieces(self, key: tuple[Coordinates, int, int, bool]) -> tuple[bytes, bytes]:
        found = self._around.get(key)
        if found is None:
            found = self._around[key] = _around(self._shared, *key)
        return found


def coordinates(
    topic: str, partition: int, offset: int, extra: Mapping[str, str] = _NO_EXTRA
) -> tuple[Coordinates, int]:
    """Where a request came from first, and its offset there."""
    generation = extra.get("generation", "0")
    origin = extra.get("origin")
    if origin is not None:
        topic, first_partition, first_offset = origin.rsplit(":", 2)
        return Coordinates(topic, int(first_partition), generation), int(first_offset)
    return Coordinates(topic, partition, generation), offset


def _around(
    shared: bytes, where: Coordinates, digits: int, more: int, is_binary: bool
) -> tuple[bytes, bytes]:
    """What stands before an offset's first occurrence, in the id, and before its second."""
    topic, generation = where.topic.encode(), where.generation.encode()
    first = b"%s:%d:" % (topic, where.partition)
    rest = b":" + generation
    key = names.CE_ID.encode()
    content = b"application/octet-stream" if is_binary else b"application/json"
    before = b"".join(
        (
            varint(_COMMON + more),
            shared,
            header(names.CONTENT_TYPE, content),
            header(names.REQUEST_TOPIC, topic),
            header(names.REQUEST_PARTITION, b"%d" % where.partition),
            varint(len(key)),
            key,
            varint(len(first) + digits + len(rest)),
            first,
        )
    )
    key = names.REQUEST_OFFSET.encode()
    return before, b"".join((rest, varint(len(key)), key, varint(digits)))


def _now() -> bytes:
    """The time in RFC 3339's form, to the millisecond."""
    now_ms = time.time_ns() // 1_000_000
    seconds, milliseconds = divmod(now_ms, 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{milliseconds:03d}Z".encode()
