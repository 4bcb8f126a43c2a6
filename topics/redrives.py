"""A dead letter, read; and the new request that it becomes: the original, and what it repeats.

    chimera-replay-of     <topic>:<partition>:<offset> of the request that failed
    chimera-generation    1 for the first, one more for each time that a replay failed and was replayed

Key, value and all other headers are the original's, byte for byte and in order. A letter without its
value, or of a topic that its dead letters do not belong to, is never sent anywhere.
`tests/topics/test_redrives.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chimera.schemas import headers as names
from chimera.schemas.errors import RequestError, SchemaInvalid
from chimera.topics import request_headers
from chimera.topics.catalogue import Topic
from chimera.topics.dead_letters import MAX_DIGITS, Copy, Failure, Headers, Origin, open_letter

_OURS = (names.REPLAY_OF, names.GENERATION)


@dataclass(frozen=True, slots=True)
class Letter:
    """A record of a dead-letter topic; times in ms since the epoch."""

    topic: str
    partition: int
    offset: int
    written_ms: int  # by the broker's clock
    original: Copy
    origin: Origin
    failure: Failure
    is_whole: bool  # else its value was too large to be copied

    @property
    def name(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"

    @property
    def request(self) -> str:
        return f"{self.origin.topic}:{self.origin.partition}:{self.origin.offset}"

    @property
    def generation(self) -> int:
        """Of its replay."""
        found = [value for name, value in self.original.headers if name == names.GENERATION]
        last = found[-1] if found else None
        known = last is not None and last.isdigit() and len(last) < MAX_DIGITS
        return int(last or 0) + 1 if known else 1


def read(
    where: tuple[str, int, int],
    written_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
) -> Letter:
    """Raises SchemaInvalid: we did not write this record."""
    original, origin, failure, is_whole = open_letter(headers)
    copy = Copy(key, value, original)
    return Letter(*where, written_ms, copy, origin, failure, is_whole)


def replay(letter: Letter, target: Topic, now_ms: int, *, drops_deadline: bool = False) -> Copy:
    """The new request.

    Args:
        target: the topic whose dead letters these are.
        drops_deadline: so that a request whose caller's deadline has passed is answered, not refused.

    Raises:
        SchemaInvalid: it must not be replayed; says why.
    """
    if letter.origin.topic != target.name:
        raise SchemaInvalid(f"it came from {letter.origin.topic}, not from {target.name}")
    if letter.origin.partition >= target.partitions:
        raise SchemaInvalid(f"{target.name} has no partition {letter.origin.partition}")
    if not letter.is_whole:
        raise SchemaInvalid("its value was too large to be copied: it is where it first stood")
    headers = list(letter.original.headers)
    if drops_deadline:
        headers = [one for one in headers if one[0] != names.DEADLINE]
    elif _is_late(headers, now_ms):
        raise SchemaInvalid("its caller's deadline has passed: --without-deadline leaves it out")
    kept = [one for one in headers if one[0] not in _OURS]
    ours: Sequence[tuple[str, bytes | None]] = (
        (names.REPLAY_OF, letter.request.encode()),
        (names.GENERATION, b"%d" % letter.generation),
    )
    copy = Copy(letter.original.key, letter.original.value, [*kept, *ours])
    if copy.size_bytes > target.max_message_bytes:
        raise SchemaInvalid(f"it has {copy.size_bytes} bytes, more than {target.name} takes")
    return copy


def _is_late(headers: Headers, now_ms: int) -> bool:
    try:
        deadline_ms = request_headers.parse(headers).deadline_ms
    except RequestError:
        return False  # it will be answered with what is wrong, as it was
    return bool(deadline_ms) and deadline_ms <= now_ms
