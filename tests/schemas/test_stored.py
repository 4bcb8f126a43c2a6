"""Record batches as a broker stores them: walked, parsed, and refused when they are damaged."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import Sequence

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from crc32c import crc32c
from hypothesis import example, given
from hypothesis import strategies as st

from chimera.schemas import headers, stored
from chimera.schemas.batches import AFTER_LENGTH, CHECKED_FROM, HEADER, Compression, encode
from chimera.schemas.stored import FAIR_BYTES, MOST_BYTES, UNWATCHED_BYTES, Damaged
from chimera.schemas.withheld import Withheld
from tests.schemas.test_compressed import WAYS

Record = tuple[bytes | None, bytes]
COMPRESSIONS: Sequence[Compression] = ("none", "snappy", "zstd")


def batch(
    first: int,
    records: Sequence[Record],
    *,
    compression: Compression = "none",
    producer_id: int = 7,
) -> bytes:
    """A batch as a broker stores it: it has set the base offset."""
    keys, tails = zip(*records, strict=True)
    sent = encode(keys, tails, compression).sent_by(producer_id, 1, 0, transactional=True)
    return first.to_bytes(8, "big") + sent[8:]


def plain(*values: bytes | None) -> list[Record]:
    return [(b"key", headers.tail(value, 0, b"")) for value in values]


def sealed(raw: bytes | bytearray) -> bytes:
    """A batch with the checksum of what it holds now."""
    crc = crc32c(bytes(raw[CHECKED_FROM:])).to_bytes(4, "big")
    return bytes(raw[: CHECKED_FROM - 4] + crc + raw[CHECKED_FROM:])


def by_append(raw: bytes, at_ms: int) -> bytes:
    """A batch of a topic that keeps when it was appended, as its broker stores it."""
    found = bytearray(raw)
    found[22] |= stored.BY_APPEND
    found[35:43] = at_ms.to_bytes(8, "big")
    return sealed(found)


def odd_tail() -> bytes:
    """A value and a header whose name is not UTF-8."""
    name = b"\xffname"
    odd = headers.varint(len(name)) + name + headers.header("", b"text")[1:]
    return headers.tail(b"value", 1, odd)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_batches_are_walked_and_read(compression: Compression) -> None:
    raw = batch(5, plain(b"a" * 600, None), compression=compression) + batch(9, plain(b"c"))
    first, second = stored.heads(raw)
    assert (first.first, first.next, first.count, second.first, second.next) == (5, 7, 2, 9, 10)
    assert (first.start, first.stop, second.stop) == (0, second.start, len(raw))
    assert first.producer_id == 7 and first.is_transactional and not first.is_control
    assert first.is_compressed == (compression != "none")
    assert [(one.offset, one.value) for one in stored.parse(raw)] == [
        (5, b"a" * 600),
        (6, None),
        (9, b"c"),
    ]


def test_topic_that_keeps_when_records_were_appended_says_that() -> None:
    raw = batch(5, plain(b"a", b"b"))
    kept = by_append(raw, 1_000)
    (made,), (appended,) = stored.heads(raw), stored.heads(kept)
    assert (made.is_by_append, appended.is_by_append) == (False, True)
    assert [one.timestamp for one in stored.parse(raw)] == [made.appended_ms] * 2
    assert (
        [one.timestamp for one in stored.parse(kept)] == [appended.appended_ms] * 2 == [1_000] * 2
    )


def test_end_of_a_fetch_that_is_a_part_of_a_batch_is_left_out() -> None:
    whole, part = batch(0, plain(b"a")), batch(1, plain(b"b"))[:-1]
    assert [head.first for head in stored.heads(whole + part)] == [0]
    assert stored.is_whole(whole + part)
    assert not stored.is_whole(part) and not stored.is_whole(b"") and not stored.is_whole(part[:11])


def test_every_changed_byte_behind_the_checksum_is_noticed() -> None:
    raw = batch(3, plain(b"value"))
    for at in range(21, len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 0x40
        with pytest.raises(Damaged):
            stored.parse(bytes(changed))


@given(st.binary(max_size=300))
@example(batch(3, plain(b"a", None)) + batch(9, plain(b"c")))
def test_bytes_of_any_kind_are_read_or_damaged(raw: bytes) -> None:
    try:
        found = list(stored.heads(raw))
        records = stored.parse(raw)
    except Damaged as error:
        assert str(error)
    else:
        assert [head.start for head in found] == [0, *(head.stop for head in found)][: len(found)]
        assert len(records) == sum(head.count for head in found)


@pytest.mark.parametrize("tail", [headers.tail(b"value", 0, b""), odd_tail()], ids=["plain", "odd"])
@given(data=st.data())
def test_records_that_were_never_right_are_read_or_damaged(
    tail: bytes, data: st.DataObject
) -> None:
    """Their checksum is: whoever wrote them made it of what they are."""
    raw = bytearray(batch(3, [(b"key", tail)] * 2))
    places = st.integers(HEADER.size, len(raw) - 1)
    for at in data.draw(st.lists(places, min_size=1, max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    try:
        found = stored.parse(sealed(raw))
    except Damaged as error:
        assert str(error)
    else:
        assert len(found) == 2


def test_formats_of_old_are_refused() -> None:
    old = bytearray(batch(3, plain(b"value")))
    old[16] = 1
    with pytest.raises(Damaged, match="magic 1"):
        list(stored.heads(bytes(old)))


def test_header_name_that_is_not_utf8_is_read_with_escapes() -> None:
    fine = headers.tail(None, 1, headers.header("fine", None))
    raw = batch(0, [(b"a", odd_tail()), (b"b", fine)])
    first, second = stored.parse(raw)
    assert list(first.headers) == [("\\xffname", b"text")]
    assert (second.value, list(second.headers)) == (None, [("fine", None)])


@pytest.mark.parametrize(("kind", "is_abort"), [(0, True), (1, False)])
def test_markers_tell_how_a_transaction_ended(kind: int, is_abort: bool) -> None:
    raw = bytearray(batch(8, [(b"\0\0" + kind.to_bytes(2, "big"), headers.tail(b"", 0, b""))]))
    raw[22] |= stored.CONTROL
    (head,) = stored.heads(bytes(raw))
    assert head.is_control
    assert stored.is_abort(bytes(raw), head) == is_abort


def test_batch_of_another_client_is_read() -> None:
    builder = DefaultRecordBatchBuilder(2, 1, False, -1, -1, -1, 1 << 20)
    for number in range(3):
        builder.append(number, 1_000 + number, b"k%d" % number, b"v" * 500, [("h", b"x")])
    found = stored.parse(bytes(builder.build()))
    assert [(one.key, one.timestamp, list(one.headers)) for one in found] == [
        (b"k%d" % number, 1_000 + number, [("h", b"x")]) for number in range(3)
    ]


def compressed(raw: bytes, codec: int, body: bytes) -> bytes:
    """A batch whose records are replaced by what is said to be them, compressed."""
    found = bytearray(raw[: HEADER.size] + body)
    found[8:12] = (len(found) - AFTER_LENGTH).to_bytes(4, "big")
    found[22] |= codec
    return sealed(found)


def claiming(raw: bytes, *, last: int | None = None, count: int | None = None) -> bytes:
    """A batch whose header says another last offset (from its first), or number of records."""
    found = bytearray(raw)
    if last is not None:
        found[23:27] = last.to_bytes(4, "big")
    if count is not None:
        found[57:61] = count.to_bytes(4, "big")
    return sealed(found)


def bomb(first: int, count: int, codec: int = 4) -> bytes:
    """Becomes more than any reader takes; the broker would take it if its records were any."""
    compress = dict(WAYS.values())[codec]
    return compressed(batch(first, plain(b"") * count), codec, compress(bytes(MOST_BYTES + 1)))


def shown(records: Sequence[stored.Stored]) -> list[tuple[int, int | None]]:
    """Offsets, and the size of each value; None: it is withheld."""
    return [
        (one.offset, None if isinstance(one, Withheld) else len(one.value or b""))
        for one in records
    ]


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_bomb_is_withheld_and_its_neighbours_are_read(codec: int) -> None:
    raw = batch(5, plain(b"abc", b"d")) + bomb(7, 3, codec) + batch(10, plain(b"ef"))
    assert shown(stored.parse(raw)) == [
        (5, 3),
        (6, 1),
        (7, None),
        (8, None),
        (9, None),
        (10, 2),
    ]


def test_withheld_records_have_the_offsets_and_the_time_of_their_header() -> None:
    found = stored.parse(by_append(claiming(bomb(7, 1), last=3), 1_000))
    assert [(one.offset, one.timestamp) for one in found] == [(at, 1_000) for at in range(7, 11)]


def test_batch_of_more_records_than_there_is_memory_for_is_withheld_unread() -> None:
    most = 2**31 - 1
    raw = claiming(batch(7, plain(b"a" * 600), compression="zstd"), last=most - 1, count=most)
    found = stored.parse_batch(raw)
    assert (len(found), shown(found[-2:])) == (most, [(most + 5, None), (most + 6, None)])


def test_batch_of_more_headers_than_there_is_memory_for_is_withheld() -> None:
    many = UNWATCHED_BYTES // 2  # of two bytes: no name, and no value
    raw = batch(7, [(None, headers.tail(b"v", many, b"\0\1" * many))], compression="zstd")
    assert shown(stored.parse(raw)) == [(7, None)]


def test_largest_of_batches_that_become_too_much_together_is_withheld() -> None:
    third, half = bytes(MOST_BYTES // 3), bytes(MOST_BYTES // 2)
    values = (third, half, b"a" * 600, third)
    raw = b"".join(batch(at, plain(value), compression="zstd") for at, value in enumerate(values))
    assert shown(stored.parse(raw)) == [(0, len(third)), (1, None), (2, 600), (3, len(third))]


def test_after_many_bombs_a_batch_of_usual_size_is_read() -> None:
    raw = bomb(0, 1) * 5 + batch(1, plain(bytes(600_000)), compression="zstd")
    assert shown(stored.parse(raw)) == [(0, None)] * 5 + [(1, 600_000)]


def test_after_many_bombs_no_other_one_takes_its_time() -> None:
    large = batch(1, plain(bytes(FAIR_BYTES)), compression="zstd")
    assert shown(stored.parse(bomb(0, 1) * 3 + large))[-1] == (1, FAIR_BYTES)
    assert shown(stored.parse(bomb(0, 1) * 4 + large))[-1] == (1, None)


@pytest.mark.parametrize("codec", [1, 2, 3, 4, 5])
def test_compressed_records_that_were_never_right_are_damaged(codec: int) -> None:
    with pytest.raises(Damaged):
        stored.parse(compressed(batch(7, plain(b"a")), codec, b"none of these"))
