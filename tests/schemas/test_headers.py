"""Record tails against aiokafka: its parser reads them, and its builder writes the same bytes."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import decode_varint
from hypothesis import example, given
from hypothesis import strategies as st

from chimera.schemas import headers

Pairs = list[tuple[str, bytes | None]]

pairs = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.just("k" * 200),
        st.none() | st.binary(max_size=200) | st.just(b"v" * 20_000),
    ),
    max_size=70,
)


@given(st.integers(-(2**31), 2**63 - 1))
@example(0)
@example(-1)
@example(63)
@example(64)
@example(8_191)
@example(8_192)
@example(2**31)
def test_varint_is_kafkas(number: int) -> None:
    encoded = headers.varint(number)
    assert decode_varint(bytearray(encoded), 0) == (number, len(encoded))


def parsed(tail: bytes) -> tuple[bytes | None, Pairs]:
    """A tail as the format's documentation says, with aiokafka's integers."""
    buffer = bytearray(tail)
    at = 0

    def integer() -> int:
        nonlocal at
        number, at = decode_varint(buffer, at)
        return int(number)

    def text() -> bytes | None:
        nonlocal at
        size = integer()
        if size < 0:
            return None
        at += size
        return bytes(buffer[at - size : at])

    value = text()
    found: Pairs = [((text() or b"").decode(), text()) for _ in range(integer())]
    assert at == len(buffer)
    return value, found


@given(st.none() | st.binary(max_size=300), pairs)
def test_tail_reads_back(value: bytes | None, given: Pairs) -> None:
    assert parsed(headers.tail(value, len(given), headers.headers(given))) == (value, given)


@given(st.none() | st.binary(max_size=300), pairs)
def test_tail_is_what_another_client_writes(value: bytes | None, given: Pairs) -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
    builder.append(0, 0, b"key", value, list(given))
    record = bytes(builder.build())
    tail = headers.tail(value, len(given), headers.headers(given))
    assert record.endswith(b"key" + tail)


def test_names_are_lower_case_and_said_once() -> None:
    names = [
        value
        for key, value in vars(headers).items()
        if key.isupper() and isinstance(value, str) and not key.endswith("_TYPE")
    ]
    names.append(headers.CONTENT_TYPE)
    assert len(names) == len({*names}) and all(name == name.lower() for name in names)
