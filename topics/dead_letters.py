"""The story that travels with a failed request: headers of retry records and of dead letters.

The original's headers come first, byte for byte and in order; ours follow as one block, each name
once. A record from a retry topic is `split()` back into the original and its story by taking the
last header of each of our names, so stories never stack and names that a caller chose survive.
Dead letters also carry Kafka Connect's `__connect.errors.*` (PROTOCOLS 9), text as there.
`tests/topics/test_dead_letters.py` holds that no byte of an original changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from chimera.schemas import headers as names
from chimera.schemas.batches import FRAMING_BYTES
from chimera.schemas.errors import BY_CODE, SchemaInvalid

MESSAGE_BYTES = 4_096
"""Of an error message, in a header; twice, with Connect's. Keeps a story far below its 32 KiB."""

MAX_DIGITS = 18  # more could pass 63 bits

CONNECT = "__connect.errors."
VALUE_BYTES = "chimera-orig-value-bytes"
VALUE_SHA256 = "chimera-orig-value-sha256"

Headers = Sequence[tuple[str, bytes | None]]

_TOLD = (
    names.ORIG_TOPIC,
    names.ORIG_PARTITION,
    names.ORIG_OFFSET,
    names.ORIG_TIMESTAMP,
    names.ATTEMPT,
    names.ERROR_CODE,
    names.ERROR_MESSAGE,
    names.FIRST_FAILURE,
)
_STORY = (*_TOLD, names.NOT_BEFORE)
_MIRRORED = tuple(
    CONNECT + name
    for name in (
        "topic",
        "partition",
        "offset",
        "connector.name",
        "task.id",
        "stage",
        "class.name",
        "exception.class.name",
        "exception.message",
    )
)
_LEFT_OUT = (VALUE_BYTES, VALUE_SHA256)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the request first stood; timestamp in ms since the epoch, as the broker stamped it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why it failed: a code of the closed set, attempts so far, the first failure's time (ms)."""

    code: str
    message: str
    attempt: int
    first_failure_ms: int


@dataclass(frozen=True, slots=True)
class Story:
    """What a retry record tells."""

    origin: Origin
    failure: Failure
    not_before_ms: int


@dataclass(frozen=True, slots=True)
class Copy:
    """A record to be written: the original's key and value, its headers and then ours."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    is_known: bool = True  # else nobody has seen it: its batch was not unpacked

    @property
    def size_bytes(self) -> int:
        """At least what the record will take on the wire, framing included."""
        return envelope_bytes(self.key, self.headers) + len(self.value or b"") + FRAMING_BYTES


def retry(original: Copy, story: Story) -> Copy:
    """The copy for a retry topic; `original` without any story."""
    due = (names.NOT_BEFORE, b"%d" % story.not_before_ms)
    headers = [*original.headers, *_told(story.origin, story.failure), due]
    return Copy(original.key, original.value, headers)


def dead_letter(original: Copy, origin: Origin, failure: Failure, limit_bytes: int) -> Copy:
    """The copy for the dead-letter topic; `original` without any story.

    A record that was compressed on its way in may not fit `limit_bytes` any more. Then its value
    is left out, and its key and headers too if that is not enough: size and SHA-256 of the value
    stand in headers, and the original stands where it was, at its coordinates. Of one that is not
    known, neither is: both headers are null.
    """
    ours = [*_told(origin, failure), *_mirrored(origin, failure)]
    if not original.is_known:
        return Copy(None, None, [*ours, (VALUE_BYTES, None), (VALUE_SHA256, None)])
    whole = Copy(original.key, original.value, [*original.headers, *ours])
    if whole.size_bytes <= limit_bytes:
        return whole
    value = original.value or b""
    ours += [
        (VALUE_BYTES, b"%d" % len(value)),
        (VALUE_SHA256, sha256(value).hexdigest().encode()),
    ]
    bare = Copy(original.key, None, [*original.headers, *ours])
    return bare if bare.size_bytes <= limit_bytes else Copy(None, None, [*ours])


def open_letter(
    headers: Headers,
) -> tuple[list[tuple[str, bytes | None]], Origin, Failure, bool]:
    """A dead letter's headers as the original's and its story; False: its value was left out.

    Raises:
        SchemaInvalid: we did not write this record.
    """
    ended = tuple(name for name, _ in headers)
    is_whole = ended[-len(_LEFT_OUT) :] != _LEFT_OUT
    ours = (*_TOLD, *_MIRRORED) if is_whole else (*_TOLD, *_MIRRORED, *_LEFT_OUT)
    if ended[-len(ours) :] != ours:
        raise SchemaInvalid("no dead letter of Chimera's: its headers end in another way")
    story = dict(headers[-len(ours) :])
    return list(headers[: -len(ours)]), _origin(story), _failure(story), is_whole


def split(headers: Headers) -> tuple[list[tuple[str, bytes | None]], Story]:
    """A retry record's headers as the original's and its story.

    Raises:
        SchemaInvalid: a part of the story is missing or is no number: we did not write this record.
    """
    story: dict[str, bytes | None] = {}
    original: list[tuple[str, bytes | None]] = []
    for name, value in reversed(headers):
        if name in _STORY and name not in story:
            story[name] = value
        else:
            original.append((name, value))
    original.reverse()
    not_before_ms = _number(story, names.NOT_BEFORE)
    return original, Story(_origin(story), _failure(story), not_before_ms)


def envelope_bytes(key: bytes | None, headers: Headers) -> int:
    """Key and headers as they stand in a record: what it takes beside its value."""
    size = len(key or b"")
    for name, value in headers:
        size += len(name if name.isascii() else name.encode()) + len(value or b"") + 5
    return size


def truncated(text: str, limit_bytes: int) -> bytes:
    """UTF-8 of at most that many bytes, cut between characters; an ellipsis marks the cut."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit_bytes:
        return encoded
    mark = "…".encode()
    return encoded[: limit_bytes - len(mark)].decode("utf-8", "ignore").encode() + mark


def _origin(story: dict[str, bytes | None]) -> Origin:
    return Origin(
        _string(story, names.ORIG_TOPIC),
        _number(story, names.ORIG_PARTITION),
        _number(story, names.ORIG_OFFSET),
        _number(story, names.ORIG_TIMESTAMP),
    )


def _failure(story: dict[str, bytes | None]) -> Failure:
    return Failure(
        _string(story, names.ERROR_CODE),
        _string(story, names.ERROR_MESSAGE),
        _number(story, names.ATTEMPT),
        _number(story, names.FIRST_FAILURE),
    )


def _told(origin: Origin, failure: Failure) -> list[tuple[str, bytes]]:
    return [
        (names.ORIG_TOPIC, origin.topic.encode()),
        (names.ORIG_PARTITION, b"%d" % origin.partition),
        (names.ORIG_OFFSET, b"%d" % origin.offset),
        (names.ORIG_TIMESTAMP, b"%d" % origin.timestamp_ms),
        (names.ATTEMPT, b"%d" % failure.attempt),
        (names.ERROR_CODE, failure.code.encode()),
        (names.ERROR_MESSAGE, truncated(failure.message, MESSAGE_BYTES)),
        (names.FIRST_FAILURE, b"%d" % failure.first_failure_ms),
    ]


def _mirrored(origin: Origin, failure: Failure) -> list[tuple[str, bytes]]:
    error = BY_CODE[failure.code]
    mirror = (
        origin.topic,
        str(origin.partition),
        str(origin.offset),
        "chimera",
        str(origin.partition),
        "TASK_PUT",
        "chimera",
        f"{error.__module__}.{error.__qualname__}",
        failure.message,
    )
    found = zip(_MIRRORED, mirror, strict=True)
    return [(name, truncated(text, MESSAGE_BYTES)) for name, text in found]


def _string(story: dict[str, bytes | None], name: str) -> str:
    try:
        return (story.get(name) or b"").decode()
    except UnicodeDecodeError:
        raise SchemaInvalid(f"{name}: not UTF-8") from None


def _number(story: dict[str, bytes | None], name: str) -> int:
    text = story.get(name) or b""
    if not text.isdigit() or len(text) > MAX_DIGITS:
        raise SchemaInvalid(f"{name}: missing or no number, so not a record of Chimera's own")
    return int(text)
