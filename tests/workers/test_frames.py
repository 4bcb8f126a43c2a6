"""Frames: there and back, in any pieces, and whatever is wrong is a BrokenFrame."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.batches import Encoded
from chimera.schemas.errors import REQUEST_ERRORS
from chimera.schemas.placements import Shadow, Shadows
from chimera.schemas.work import BatchStory, Block, Deferred, Outcomes, Results, Work
from chimera.workers import block_frames, frames, work_frames
from chimera.workers.frames import BrokenFrame, Kind
from chimera.workers.work_frames import Answered

I64 = st.integers(-(2**63), 2**63 - 1)
STORY = BatchStory("m", "1", "ab", "onnx-cpu", 1, 1)
TEXT = st.text(max_size=12).filter(lambda text: text.isprintable())


@st.composite
def works(draw: st.DrawFn) -> Work:
    count = draw(st.integers(0, 6))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=count, max_size=count))

    extras: dict[int, dict[str, str]] = {}
    if count:
        extras = draw(
            st.dictionaries(
                st.integers(0, count - 1), st.dictionaries(TEXT, TEXT, max_size=3), max_size=count
            )
        )
    return Work(
        draw(I64),
        draw(TEXT),
        draw(st.integers(0, 2**31 - 1)),
        column(I64),
        column(st.binary(max_size=40)),
        column(st.integers(-1, 2**31 - 1)),
        column(I64),
        extras,
        draw(I64),
        draw(st.booleans()),
    )


@st.composite
def answers(draw: st.DrawFn) -> Answered:
    sizes = draw(st.lists(st.integers(0, 4), max_size=4))
    count = sum(sizes)
    story = BatchStory(draw(TEXT), "1", "ab", "onnx-cpu", count, 7, 9, "none")
    outcomes = Outcomes(
        draw(I64),
        draw(st.lists(I64, min_size=count, max_size=count)),
        bytes(draw(st.lists(st.integers(0, len(REQUEST_ERRORS)), min_size=count, max_size=count))),
        draw(st.lists(st.binary(max_size=40), min_size=count, max_size=count)),
        story,
        draw(st.lists(st.binary(max_size=9), min_size=count, max_size=count) | st.just([])),
    )
    return Answered(outcomes, [(serial, size) for serial, size in enumerate(sizes)])


def body_of(frame: bytes, kind: Kind) -> bytes:
    assert frames.read_header(frame[: frames.HEADER.size]) == (
        kind,
        len(frame) - frames.HEADER.size,
    )
    return frame[frames.HEADER.size :]


U64 = st.integers(0, 2**64 - 1)
BLOCKS = st.builds(
    Block,
    I64,
    TEXT,
    st.integers(0, 2**31 - 1),
    I64,
    I64,
    st.integers(0, 2**31 - 1),
    I64,
    st.binary(max_size=60),
    I64,
)
RESULTS = st.builds(
    Results,
    I64,
    I64,
    I64,
    st.lists(
        st.builds(Encoded, st.integers(0, 999), st.integers(0, 4), st.binary(max_size=40)),
        max_size=3,
    ).map(tuple),
    st.lists(st.just(STORY), max_size=2).map(tuple),
    st.binary(max_size=40),
)


def frame_block(serial: int, block: Block) -> bytes:
    """In one piece."""
    return b"".join(block_frames.frame_block(serial, block))


def read_block(body: bytes) -> tuple[int, Block]:
    """With records that can be compared."""
    serial, block = block_frames.read_block(body)
    return serial, replace(block, raw=bytes(block.raw))


@given(BLOCKS, U64)
def test_block_comes_back(block: Block, serial: int) -> None:
    found, read = read_block(body_of(frame_block(serial, block), Kind.BLOCK))
    assert (found, asdict(read)) == (serial, asdict(block))


@given(RESULTS, U64)
def test_results_come_back(results: Results, serial: int) -> None:
    body = body_of(block_frames.frame_results(serial, results), Kind.RESULTS)
    assert block_frames.read_results(body) == (serial, results)


@given(U64)
def test_unread_comes_back(serial: int) -> None:
    assert (
        block_frames.read_unread(body_of(block_frames.frame_unread(serial), Kind.UNREAD)) == serial
    )


@given(works(), st.integers(0, 2**64 - 1))
def test_work_comes_back(work: Work, serial: int) -> None:
    body = body_of(work_frames.frame_work(serial, work), Kind.WORK)
    assert work_frames.read_work(body) == (serial, work)


@given(answers())
def test_outcomes_come_back(answered: Answered) -> None:
    body = body_of(work_frames.frame_outcomes(answered), Kind.OUTCOMES)
    assert work_frames.read_outcomes(body) == answered


@given(I64)
def test_forget_comes_back(lane: int) -> None:
    assert frames.read_forget(body_of(frames.frame_forget(lane), Kind.FORGET)) == lane


@given(I64, st.sets(I64, max_size=5))
def test_withdrawn_come_back(lane: int, offsets: set[int]) -> None:
    body = body_of(frames.frame_withdraw(lane, offsets), Kind.WITHDRAW)
    assert frames.read_withdrawn(body) == frames.Withdrawn(lane, sorted(offsets))


TRAFFIC = st.dictionaries(st.text(), st.dictionaries(st.text(), st.floats(0, 1e6)))


@given(TRAFFIC)
def test_traffic_comes_back(traffic: dict[str, dict[str, float]]) -> None:
    body = body_of(frames.frame_direct(traffic), Kind.DIRECT)
    assert frames.read_traffic(body) == traffic


@given(st.dictionaries(st.text(), st.builds(Shadow, st.text(), st.floats(0, 1))))
def test_shadows_come_back(shadows: Shadows) -> None:
    body = body_of(frames.frame_shadow(shadows), Kind.SHADOW)
    assert frames.read_shadows(body) == shadows


@given(st.sets(st.text()))
def test_pause_comes_back(models: set[str]) -> None:
    assert frames.read_paused(body_of(frames.frame_pause(models), Kind.PAUSE)) == models


DEFERRED = st.builds(Deferred, I64, st.lists(I64, max_size=5), st.text(), st.text(), I64)


@given(U64, DEFERRED)
def test_deferred_comes_back(serial: int, deferred: Deferred) -> None:
    found = frames.read_deferred(body_of(frames.frame_deferred(serial, deferred), Kind.DEFERRED))
    assert (found.serial, found.deferred) == (serial, deferred)


Read = Callable[[bytes], Any]
Write = Callable[[Any], bytes]
FORMS: list[tuple[Read, Write]] = [
    (work_frames.read_work, lambda found: work_frames.frame_work(*found)),
    (work_frames.read_outcomes, work_frames.frame_outcomes),
    (frames.read_forget, frames.frame_forget),
    (frames.read_traffic, frames.frame_direct),
    (frames.read_shadows, frames.frame_shadow),
    (frames.read_paused, frames.frame_pause),
    (frames.read_deferred, lambda found: frames.frame_deferred(found.serial, found.deferred)),
    (frames.read_withdrawn, lambda found: frames.frame(Kind.WITHDRAW, msgspec.json.encode(found))),
    (read_block, lambda found: frame_block(*found)),
    (block_frames.read_results, lambda found: block_frames.frame_results(*found)),
    (block_frames.read_unread, block_frames.frame_unread),
]


def is_read_or_broken(read: Read, write: Write, body: bytes) -> bool:
    """Whether what is read comes back from a frame of its own, and a refusal says why."""
    try:
        found = read(body)
    except BrokenFrame as error:
        return bool(str(error))
    again = read(write(found)[frames.HEADER.size :])
    return repr(again) == repr(found)  # blocks are compared by identity


@given(st.data())
def test_damaged_body_is_read_or_broken(data: st.DataObject) -> None:
    work, answered = data.draw(works()), data.draw(answers())
    traffic = {"m": {"1": 1.0, "2": 0.25}}
    blocks = ((1, data.draw(BLOCKS)), (1, data.draw(RESULTS)))
    shadows = {"m": Shadow("2", 0.5)}
    deferred = frames.HandedBack(1, data.draw(DEFERRED))
    withdrawn = frames.Withdrawn(1, [2, 3])
    sent = ((1, work), answered, 1, traffic, shadows, {"m"}, deferred, withdrawn, *blocks, 1)
    for (read, write), value in zip(FORMS, sent, strict=True):
        body = bytearray(write(value)[frames.HEADER.size :])
        for _ in range(data.draw(st.integers(1, 4))):
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, len(body)))
        damaged = bytes(body[:cut] if data.draw(st.booleans()) else body)
        assert is_read_or_broken(read, write, damaged), damaged


@given(st.binary(max_size=120))
def test_random_body_is_read_or_broken(body: bytes) -> None:
    for read, write in FORMS:
        assert is_read_or_broken(read, write, body), read


@given(st.lists(works(), max_size=4), st.data())
def test_stream_in_any_pieces_gives_every_frame(sent: list[Work], data: st.DataObject) -> None:
    stream = b"".join(work_frames.frame_work(serial, work) for serial, work in enumerate(sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reassembly = frames.Reassembly()
    found = [
        work_frames.read_work(body)
        for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for _, body in reassembly.feed(stream[start:stop])
    ]
    assert found == list(enumerate(sent))


def test_oversized_or_foreign_header_breaks_the_stream() -> None:
    for header in (
        frames.HEADER.pack(0xC41E, Kind.WORK, frames.MAX_BODY_BYTES + 1),
        frames.HEADER.pack(0xC41E, 99, 1),
        b"GET / HT",
    ):
        with pytest.raises(BrokenFrame):
            list(frames.Reassembly().feed(header))


def test_codes_beyond_the_error_tree_are_broken() -> None:
    outcomes = Outcomes(1, [5], bytes([len(REQUEST_ERRORS) + 1]), [b""], STORY)
    body = body_of(work_frames.frame_outcomes(Answered(outcomes, [(0, 1)])), Kind.OUTCOMES)
    with pytest.raises(BrokenFrame, match="code"):
        work_frames.read_outcomes(body)


def test_parts_must_be_the_whole() -> None:
    outcomes = Outcomes(1, [5], b"\0", [b""], STORY)
    body = body_of(work_frames.frame_outcomes(Answered(outcomes, [(0, 2)])), Kind.OUTCOMES)
    with pytest.raises(BrokenFrame, match="parts"):
        work_frames.read_outcomes(body)
