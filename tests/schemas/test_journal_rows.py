import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chimera.schemas.columns import Numbers, constant, numbers
from chimera.schemas.errors import Malformed
from chimera.schemas.journal_rows import (
    COMMITMENT_BYTES,
    NO_COMMITMENT,
    NO_SLACK,
    OK,
    PART_ROWS,
    TEXT_BYTES,
    Rows,
    first_of,
    join,
    read_part,
    write_part,
)
from tests.schemas.journal_samples import GOLDEN, GROUP, same, some_rows


@given(some_rows())
def test_rows_come_back(rows: Rows) -> None:
    raw = write_part(rows)
    assert same(read_part(raw), rows)
    assert first_of(raw) == int(rows.offsets[0])


def numbers_of(column: Numbers) -> list[int]:
    return [int(number) for number in column.tolist()]


def each(rows: Rows) -> list[object]:
    """Row by row, without numbers of tables; those of no commitment are all zeros."""
    count, size = len(rows), COMMITMENT_BYTES
    given, answer = rows.input_commitments, rows.output_commitments
    columns = (
        [rows.groups[at] for at in numbers_of(rows.group)],
        [rows.outcomes[at] for at in numbers_of(rows.outcome)],
        rows.offsets.tolist(),
        rows.appended_ms.tolist(),
        rows.input_bytes.tolist(),
        rows.output_bytes.tolist(),
        rows.slack_ms.tolist(),
        rows.attempt.tolist(),
        list(rows.ids) or [b""] * count,
        list(rows.origins) or [b""] * count,
        [given[at * size : at * size + size] or NO_COMMITMENT for at in range(count)],
        [answer[at * size : at * size + size] or NO_COMMITMENT for at in range(count)],
    )
    return list(zip(*columns, strict=True))


@settings(max_examples=25)
@given(
    st.lists(st.tuples(some_rows(max_size=4), st.booleans(), st.booleans()), min_size=1, max_size=3)
)
def test_parts_joined_have_the_rows_of_each(drawn: list[tuple[Rows, bool, bool]]) -> None:
    parts: list[Rows] = []
    for made, has_origins, is_constant in drawn:
        rows = made if has_origins else replace(made, origins=())
        attempt = constant(3, len(rows)) if is_constant else rows.attempt
        parts.append(read_part(write_part(replace(rows, attempt=attempt))))
    assert each(join(parts)) == [row for part in parts for row in each(part)]


def test_row_of_a_plain_request_takes_a_few_bytes() -> None:
    count = PART_ROWS
    zeros = constant(0, count)
    rows = Rows(
        (GROUP,),
        (OK,),
        numbers(range(7, 7 + count)),
        zeros,
        zeros,
        constant(1_700_000_000_000, count),
        numbers([1_300 + at % 40 for at in range(count)]),
        numbers([250 + at % 20 for at in range(count)]),
        constant(NO_SLACK, count),
        zeros,
        [b"%d" % (100_000 + at) for at in range(count)],
    )
    assert len(write_part(rows)) < 6 * count


def test_texts_that_are_too_long_are_cut() -> None:
    (rows,) = GOLDEN[1]
    long = b"x" * (TEXT_BYTES + 1)
    assert read_part(write_part(replace(rows, ids=[long] * 3))).ids == [long[:TEXT_BYTES]] * 3


@given(some_rows(), st.data())
def test_part_that_was_changed_is_read_or_refused(rows: Rows, data: st.DataObject) -> None:
    raw = bytearray(write_part(rows))
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for spoilt in (bytes(raw), bytes(raw[:cut]), bytes(raw) + b"x"):
        try:
            found = read_part(spoilt)
        except Malformed:
            continue
        assert len(found.ids) == len(found)
        assert int(found.group.max()) < len(found.groups)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_part_are_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_part(raw)


def test_part_that_claims_memory_is_refused() -> None:
    head = struct.pack("<BBIqII", 1, 1, PART_ROWS, 0, 0, 2**32 - 1)
    with pytest.raises(Malformed, match="4294967295 bytes"):
        read_part(head)
