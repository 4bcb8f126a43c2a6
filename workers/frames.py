"""Frames between a node and one of its executors: a stream of kinds and bodies.

    header    magic, kind, bytes of the body

Bodies of works and outcomes are in `work_frames.py`, of blocks and results in `block_frames.py`; the
others are JSON or one number. Numbers are in the machine's own byte order: a frame never leaves it.
Both sides check what they read, and whatever is wrong raises `BrokenFrame`, nothing else;
`tests/workers/test_frames.py` fuzzes it.
"""

import struct
from collections.abc import Collection, Iterable, Iterator
from enum import IntEnum
from typing import TypeVar

import msgspec

from chimera.schemas.errors import ChimeraError
from chimera.schemas.placements import Shadows, Traffic
from chimera.schemas.work import Deferred

T = TypeVar("T")

MAX_BODY_BYTES = 1 << 28  # a sender splits long before; a larger figure is a broken stream
HEADER = struct.Struct("=HBxI")
MAGIC = 0xC41E
_FORGET = struct.Struct("=q")


class Kind(IntEnum):
    CONFIGURE = 1  # JSON
    WORK = 2
    FORGET = 3
    STARTED = 4  # JSON
    OUTCOMES = 5
    BLOCK = 6
    RESULTS = 7
    UNREAD = 8
    DIRECT = 9  # JSON
    REPORT = 10  # JSON
    SHADOW = 11  # JSON
    PAUSE = 12  # JSON
    DEFERRED = 13  # JSON
    WITHDRAW = 14  # JSON


_KINDS = {int(kind): kind for kind in Kind}


class BrokenFrame(ChimeraError):
    """The other side sent what is no frame; the stream cannot be read on."""


_TRAFFIC_IN = msgspec.json.Decoder(Traffic)
_SHADOWS_IN = msgspec.json.Decoder(Shadows)
_PAUSED_IN = msgspec.json.Decoder(tuple[str, ...])


class HandedBack(msgspec.Struct, frozen=True, array_like=True):
    """Deferred requests, and the work or block that they belong to."""

    serial: int
    deferred: Deferred


class Withdrawn(msgspec.Struct, frozen=True, array_like=True):
    """Requests of a lane that nobody waits for."""

    lane: int
    offsets: list[int]


_HANDED_BACK_IN = msgspec.json.Decoder(HandedBack)
_WITHDRAWN_IN = msgspec.json.Decoder(Withdrawn)


def frame(kind: Kind, body: bytes = b"") -> bytes:
    """A frame whose body is one piece, as those of JSON are."""
    return HEADER.pack(MAGIC, kind, len(body)) + body


def frame_direct(traffic: Traffic) -> bytes:
    return frame(Kind.DIRECT, msgspec.json.encode(traffic))


def frame_shadow(shadows: Shadows) -> bytes:
    return frame(Kind.SHADOW, msgspec.json.encode(shadows))


def frame_pause(models: Iterable[str]) -> bytes:
    """All models that are paused now."""
    return frame(Kind.PAUSE, msgspec.json.encode(sorted(models)))


def frame_deferred(serial: int, deferred: Deferred) -> bytes:
    """`serial` numbers the works and blocks that one executor was given."""
    return frame(Kind.DEFERRED, msgspec.json.encode(HandedBack(serial, deferred)))


def frame_withdraw(lane: int, offsets: Collection[int]) -> bytes:
    return frame(Kind.WITHDRAW, msgspec.json.encode(Withdrawn(lane, sorted(offsets))))


def frame_forget(lane: int) -> bytes:
    return HEADER.pack(MAGIC, Kind.FORGET, _FORGET.size) + _FORGET.pack(lane)


def read_header(header: bytes) -> tuple[Kind, int]:
    """Kind and bytes of the body of the frame that begins with these `HEADER.size` bytes.

    Raises:
        BrokenFrame: no frame begins so.
    """
    magic, kind, size = HEADER.unpack(header)
    found = _KINDS.get(kind)
    if magic != MAGIC or found is None or size > MAX_BODY_BYTES:
        raise BrokenFrame(f"no frame begins with {header.hex()}")
    return found, size


def read_forget(body: bytes) -> int:
    """Raises BrokenFrame."""
    if len(body) != _FORGET.size:
        raise BrokenFrame(f"forget: {len(body)} bytes")
    lane: int = _FORGET.unpack(body)[0]
    return lane


def read_traffic(body: bytes) -> Traffic:
    """Raises BrokenFrame."""
    return _read_json(_TRAFFIC_IN, body, "traffic")


def read_paused(body: bytes) -> frozenset[str]:
    """Raises BrokenFrame."""
    models = _read_json(_PAUSED_IN, body, "pause")
    return frozenset(models)


def read_deferred(body: bytes) -> HandedBack:
    """Raises BrokenFrame."""
    return _read_json(_HANDED_BACK_IN, body, "deferred")


def read_withdrawn(body: bytes) -> Withdrawn:
    """Raises BrokenFrame."""
    return _read_json(_WITHDRAWN_IN, body, "withdraw")


def _read_json(decoder: "msgspec.json.Decoder[T]", body: bytes, what: str) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenFrame(f"{what}: {error}") from None


def read_shadows(body: bytes) -> Shadows:
    """Raises BrokenFrame."""
    return _read_json(_SHADOWS_IN, body, "shadows")


class Reassembly:
    """Turns the pieces in which a stream arrives into frames."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held = 0
        self._needed = HEADER.size

    def feed(self, piece: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Frames that are complete with this piece; exhaust it before the next one.

        Raises:
            BrokenFrame: the stream cannot be read on.
        """
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held < self._needed:
            return
        held = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        position = 0
        while True:
            start = position + HEADER.size
            if len(held) < start:
                self._needed = HEADER.size
                break
            kind, size = read_header(held[position:start])
            if len(held) < start + size:
                self._needed = HEADER.size + size
                break
            position = start + size
            yield kind, held[start:position]
        rest = held[position:]
        self._pieces = [rest] if rest else []
        self._held = len(rest)


def read_text(raw: bytes) -> str:
    """A topic's name. Raises BrokenFrame."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BrokenFrame("the topic is not UTF-8") from None
