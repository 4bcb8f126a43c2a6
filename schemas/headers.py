"""Kafka headers: the names, reading a request's, and writing a result's at batch speed.

Names follow CloudEvents' Kafka binding (binary mode), W3C trace context and the Open Inference
Protocol's binary extension; what is ours begins with `chimera-`. Text is UTF-8.
A Kafka record (message format v2) ends in its value and its headers. `tail()` writes that end, so
that an executor can encode it next to the result and the node has only to put keys and lengths
before it. `tests/schemas/test_headers.py` reads tails back with an independent client's parser.
"""

from collections.abc import Iterable

CONTENT_TYPE = "content-type"
HEAD_LENGTH = "inference-header-content-length"
TRACEPARENT = "traceparent"

CE_SPECVERSION = "ce_specversion"
CE_TYPE = "ce_type"
CE_SOURCE = "ce_source"
CE_ID = "ce_id"
CE_TIME = "ce_time"

TENANT = "chimera-tenant"
MODEL = "chimera-model"
MODEL_VERSION = "chimera-model-version"
DEADLINE = "chimera-deadline"
PRIORITY = "chimera-priority"
KEY_ID = "chimera-kid"
SIGNATURE = "chimera-signature"

REQUEST_TOPIC = "chimera-request-topic"
REQUEST_PARTITION = "chimera-request-partition"
REQUEST_OFFSET = "chimera-request-offset"
GENERATION = "chimera-generation"
MODEL_DIGEST = "chimera-model-digest"
TIER = "chimera-tier"
BATCH_SIZE = "chimera-batch-size"
QUEUE_US = "chimera-queue-us"
COMPUTE_US = "chimera-compute-us"
TOTAL_US = "chimera-total-us"
ERROR_CODE = "chimera-error-code"
ERROR_MESSAGE = "chimera-error-message"

ORIG_TOPIC = "chimera-orig-topic"
ORIG_PARTITION = "chimera-orig-partition"
ORIG_OFFSET = "chimera-orig-offset"
ORIG_TIMESTAMP = "chimera-orig-timestamp"
ATTEMPT = "chimera-attempt"
FIRST_FAILURE = "chimera-first-failure"
NOT_BEFORE = "chimera-not-before"
REPLAY_OF = "chimera-replay-of"

RESULT_TYPE = "chimera.inference.result.v1"
ERROR_TYPE = "chimera.inference.error.v1"


def unsigned_varint(value: int) -> bytes:
    """Seven bits a byte, low bits first (LEB128)."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(value: int) -> bytes:
    return unsigned_varint((value << 1) ^ (value >> 63))


SMALL = 16_384
VARINTS = tuple(_varint(value) for value in range(SMALL))
"""Those below `SMALL`, ready; a loop over many records looks them up by itself."""


def varint(value: int) -> bytes:
    """Kafka's signed variable-length integer: zigzag, then as `unsigned_varint`."""
    return VARINTS[value] if 0 <= value < SMALL else _varint(value)


NULL = varint(-1)  # the length of a key or value that is not there


def header(name: str, value: bytes | None) -> bytes:
    """One header as it stands in a record: both lengths as varints."""
    key = name.encode()
    if value is None:
        return b"".join((varint(len(key)), key, NULL))
    return b"".join((varint(len(key)), key, varint(len(value)), value))


def headers(pairs: Iterable[tuple[str, bytes | None]]) -> bytes:
    """Several headers, one after the other, without their count."""
    return b"".join(header(name, value) for name, value in pairs)


def tail(value: bytes | None, count: int, encoded: bytes) -> bytes:
    """The end of a record: its value, then `count` headers that `encoded` holds."""
    if value is None:
        return b"".join((NULL, varint(count), encoded))
    return b"".join((varint(len(value)), value, varint(count), encoded))


def value_of(tail: bytes) -> bytes:
    """The value at the beginning of a tail that `tail` or an executor has written."""
    length = shift = at = 0
    while True:
        byte = tail[at]
        length |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            break
    length = (length >> 1) ^ -(length & 1)
    return tail[at : at + max(0, length)]
