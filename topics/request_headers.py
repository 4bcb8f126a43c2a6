"""What a lane reads in a request's headers, and what it refuses there.

Most requests have no header that matters, so `parse` costs those next to nothing. Numbers are
ASCII digits. A `chimera-*` header that stands twice is refused: Kafka allows it, and two readers
would choose differently. A `traceparent` that is none is ignored, as its specification demands.
A retry topic's headers are `dead_letters.split` first.
`tests/topics/test_request_headers.py` holds both directions.
"""

import re
from typing import NamedTuple

from chimera.schemas import headers as names
from chimera.schemas.batches import ENVELOPE_BYTES
from chimera.schemas.errors import Malformed, RequestError, SchemaInvalid, TooLarge
from chimera.topics.dead_letters import MAX_DIGITS, Headers, envelope_bytes

TEXT_BYTES = 255
"""Of a model's, a version's and a tenant's name: they become folders' names and metrics' labels."""

_EXTRAS = {
    names.MODEL: "model",
    names.MODEL_VERSION: "version",
    names.TENANT: "tenant",
    names.PRIORITY: "priority",
    names.GENERATION: "generation",
    names.TRACEPARENT: "traceparent",
}
_READ = frozenset(_EXTRAS) | {names.HEAD_LENGTH, names.DEADLINE}
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


class RequestHeaders(NamedTuple):
    """Fields as `schemas.work.Work` wants them."""

    head_length: int = -1  # bytes of the JSON head of a binary request; -1: all of it is JSON
    deadline_ms: int = 0  # since the epoch, by the caller's clock; 0: none
    extras: dict[str, str] | None = (
        None  # model, version, tenant, priority, generation, traceparent
    )


NONE = RequestHeaders()


def parse(headers: Headers) -> RequestHeaders:
    """Read a request's headers; names are exact and lower-case.

    Raises:
        Malformed: the head's length is no number, or stands twice.
        SchemaInvalid: any other header is not what it should be; the message names it.
    """
    if not headers:
        return NONE
    head_length, deadline_ms = -1, 0
    extras: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in headers:
        if name not in _READ and not name.startswith("chimera-"):
            continue
        if name in seen:
            if name == names.TRACEPARENT:
                extras.pop("traceparent", None)
                continue
            raise _refusal(name, "stands twice")
        seen.add(name)
        if name == names.HEAD_LENGTH:
            head_length = _number(name, value)
        elif name == names.DEADLINE:
            deadline_ms = _number(name, value)
            if not deadline_ms:
                raise _refusal(name, "0 is no time; leave it out for none")
        elif name in _EXTRAS:
            text = _text(name, value)
            if text is not None:
                extras[_EXTRAS[name]] = text
    return RequestHeaders(head_length, deadline_ms, extras or None)


def require_size(
    key: bytes | None, value: bytes | None, headers: Headers, max_request_bytes: int
) -> None:
    """Refuse what could not be copied to a retry or dead-letter topic, or answered under its key.

    Key and headers pass `ENVELOPE_BYTES` only if they were compressed on their way in.

    Raises:
        TooLarge: says what is too large, its size and the limit.
    """
    if value is not None and len(value) > max_request_bytes:
        raise TooLarge(f"the request has {len(value)} bytes, the limit is {max_request_bytes}")
    if key or headers:
        size = envelope_bytes(key, headers)
        if size > ENVELOPE_BYTES:
            raise TooLarge(f"key and headers have {size} bytes, the limit is {ENVELOPE_BYTES}")


def expires_ms(deadline_ms: int, tolerance_ms: int) -> int:
    """When a deadline counts as passed: clocks differ, the caller gets the benefit; 0: never."""
    return deadline_ms + tolerance_ms if deadline_ms else 0


def came_late(expires_ms: int, append_ms: int) -> bool:
    """Whether that moment had passed when the broker appended the request.

    The append time is the broker's: it counts even if this machine's clock is behind.
    """
    return 0 < expires_ms < append_ms


def _number(name: str, value: bytes | None) -> int:
    if value is None or not value.isdigit():
        raise _refusal(name, f"{_shown(value)} is no number")
    if len(value) > MAX_DIGITS:
        raise _refusal(name, f"has {len(value)} digits, at most {MAX_DIGITS} are read")
    return int(value)


def _text(name: str, value: bytes | None) -> str | None:
    """A header's text as it goes on to the executor; None: as if it were not there."""
    if name == names.TRACEPARENT:
        if value is None or not _TRACEPARENT.fullmatch(value):
            return None
        return value.decode("ascii", "ignore") if len(value) == 55 or value[:2] != b"00" else None
    if name in (names.PRIORITY, names.GENERATION):
        return str(_number(name, value))
    if not value or len(value) > TEXT_BYTES:
        raise _refusal(name, f"should have 1 to {TEXT_BYTES} bytes, has {len(value or b'')}")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _refusal(name, "is not UTF-8") from None


def _refusal(name: str, reason: str) -> RequestError:
    kind = Malformed if name == names.HEAD_LENGTH else SchemaInvalid
    return kind(f"header {name}: {reason}")


def _shown(value: bytes | None) -> str:
    return "null" if value is None else ascii(value[:32].decode("utf-8", "replace"))
