"""What became of a request, read back from its record: a response with its tensors, or an error.

A record of `inference.results` says in headers which request it answers, which model did so, and how
long that took; its value is for whoever asked. Anybody may have written the record: what cannot be
read is an error of ours, nothing else. `tests/schemas/test_outcomes.py` reads what executors write.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np

from chimera.schemas import headers as names
from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.request_heads import BINARY_SIZE, UNREADABLE, Scalar
from chimera.schemas.responses import Output
from chimera.schemas.tensors import Array, Layout, layout, objects, quoted, read_binary

RESULT = (names.REQUEST_TOPIC, names.REQUEST_PARTITION, names.REQUEST_OFFSET)
DEAD_LETTER = (names.ORIG_TOPIC, names.ORIG_PARTITION, names.ORIG_OFFSET)

MAX_DIGITS = 18  # more could pass 63 bits


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one request; times in microseconds."""

    code: str  # of the closed set; empty: a response
    value: bytes  # the record's, or of an error nothing but its message
    head: int = -1  # bytes of the JSON before raw tensors; -1: all of it is JSON
    digest: str = ""  # of the version that answered; empty: none did
    tier: str = ""
    rows: int = 0  # of the batch that it was computed in
    compute_us: int = 0  # of that batch


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Scalar] | None = None


class _Response(msgspec.Struct):
    outputs: list[_Output]


_RESPONSE = msgspec.json.Decoder(_Response)


def read(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> Outcome:
    """The outcome that a result record tells of.

    Raises:
        SchemaInvalid: a header is not what Chimera writes.
    """
    found = dict(headers)
    return Outcome(
        _text(found.get(names.ERROR_CODE)),
        value or b"",
        _number(found, names.HEAD_LENGTH, -1),
        _text(found.get(names.MODEL_DIGEST)),
        _text(found.get(names.TIER)),
        _number(found, names.BATCH_SIZE, 0),
        _number(found, names.COMPUTE_US, 0),
    )


def request_of(
    headers: Iterable[tuple[str, bytes | None]], named: tuple[str, str, str] = RESULT
) -> tuple[str, int, int] | None:
    """Topic, partition and offset of the request that a record is about; None: it says none.

    `named`: the headers that say so, in a result or in a `DEAD_LETTER`, where the last ones are ours.

    Raises:
        SchemaInvalid: one is no number.
    """
    found = dict(headers)
    topic = _text(found.get(named[0]))
    partition, offset = _number(found, named[1], -1), _number(found, named[2], -1)
    return (topic, partition, offset) if topic and partition >= 0 and offset >= 0 else None


def outputs(value: bytes, head: int = -1) -> list[Output]:
    """A response's outputs in their order and shapes, be they JSON or raw; null is NaN.

    Raises:
        Malformed, SchemaInvalid: it is no response.
    """
    try:
        found = _RESPONSE.decode(value if head < 0 else value[:head]).outputs
    except msgspec.ValidationError as error:
        raise SchemaInvalid(f"no response: {error}") from None
    except UNREADABLE as error:
        raise Malformed(f"no response: {error}") from None
    position, read_outputs = head, list[Output]()
    for one in found:
        wanted = layout(one.datatype, one.shape)
        size = (one.parameters or {}).get(BINARY_SIZE)
        if isinstance(size, int):
            flat = read_binary(wanted, value[position : position + size])
            position += size
        else:
            flat = _from_json(one.name, wanted, bytes(one.data))
        read_outputs.append(Output(one.name, one.datatype, flat.reshape(wanted.shape)))
    return read_outputs


def _from_json(name: str, wanted: Layout, data: bytes) -> Array:
    try:
        elements = msgspec.json.decode(data or b"null")
        if wanted.datatype.kind == "bytes":
            flat = objects([text.encode() for text in elements])
        else:
            flat = np.asarray(elements, wanted.datatype.dtype).reshape(-1)
    except (*UNREADABLE, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise SchemaInvalid(f"output {quoted(name)}: {error}") from None
    if flat.size != wanted.count:
        raise SchemaInvalid(f"output {quoted(name)}: {flat.size} elements, not {wanted.count}")
    return flat


def _text(found: bytes | None) -> str:
    return (found or b"").decode("utf-8", "replace")


def _number(found: dict[str, bytes | None], name: str, missing: int) -> int:
    text = found.get(name)
    if not text:
        return missing
    if not text.isdigit() or len(text) > MAX_DIGITS:
        raise SchemaInvalid(f"header {name}: {text[:32]!r} is no number")
    return int(text)
