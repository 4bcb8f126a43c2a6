"""Rows of the journal, random ones and those of the golden files."""

import dataclasses
from collections.abc import Sequence
from itertools import accumulate

from hypothesis import strategies as st
from msgspec import structs

from chimera.schemas.columns import numbers
from chimera.schemas.journal_rows import COMMITMENT_BYTES, NO_SLACK, Group, Rows

I48 = st.integers(0, 2**48)
NAMES = st.text("abc-µ", max_size=8)
KEYS = st.sampled_from(["", "0d" * 16, "no key"])
GROUPS = st.builds(Group, NAMES, NAMES, NAMES, NAMES, NAMES, NAMES, I48, I48, I48, I48, KEYS)

GROUP = Group("default", "digits", "1", "d" * 64, "onnx-cpu", "cpu:0", 2, 90, 700, 800)
GOLDEN = {
    1: (
        Rows(
            (GROUP, Group("acme", "digits")),
            ("ok", "too_large"),
            numbers([40, 41, 43]),
            numbers([0, 0, 1]),
            numbers([0, 0, 1]),
            numbers([1_700_000_000_000, 1_700_000_000_000, 1_700_000_000_009]),
            numbers([1_300, 1_301, 2_000_000]),
            numbers([250, 251, 180]),
            numbers([NO_SLACK, NO_SLACK, -7]),
            numbers([0, 0, 2]),
            [b"a", b"b", "µ".encode()],
            [b"", b"", b"inference.requests:3:9"],
            bytes(range(96)),
            bytes(range(96, 192)),
        ),
    )
}
"""What each version's golden file holds, as this release understands it."""
KEYED = dataclasses.replace(
    GOLDEN[1][0],
    groups=tuple(structs.replace(one, commitment_key="0d" * 16) for one in GOLDEN[1][0].groups),
)
"""Of `journal_v1_keys.bin`: what a later release says beside it, and an earlier one passes over."""


@st.composite
def some_rows(draw: st.DrawFn, first: int | None = None, max_size: int = 12) -> Rows:
    """From offset `first` on."""
    count = draw(st.integers(1, max_size))

    def column(values: st.SearchStrategy[int]) -> Sequence[int]:
        return draw(st.lists(values, min_size=count, max_size=count))

    def texts() -> list[bytes]:
        return draw(st.lists(st.binary(max_size=6), min_size=count, max_size=count))

    groups = tuple(draw(st.lists(GROUPS, min_size=1, max_size=3)))
    outcomes = tuple(draw(st.lists(NAMES, min_size=1, max_size=3)))
    begins = draw(st.integers(0, 2**40)) if first is None else first
    size = count * COMMITMENT_BYTES if draw(st.booleans()) else 0
    return Rows(
        groups,
        outcomes,
        numbers(list(accumulate(column(st.integers(1, 3)), initial=begins - 1)))[1:],
        numbers(column(st.integers(0, len(groups) - 1))),
        numbers(column(st.integers(0, len(outcomes) - 1))),
        numbers(column(I48)),
        numbers(column(st.integers(0, 2**31))),
        numbers(column(st.integers(0, 300))),
        numbers(column(st.integers(-5, 5) | st.just(NO_SLACK))),
        numbers(column(st.integers(0, 9))),
        texts(),
        texts(),
        draw(st.binary(min_size=size, max_size=size)),
        draw(st.binary(min_size=size, max_size=size)),
    )


def same(one: Rows, other: Rows) -> bool:
    """Whether both have the same rows; columns are compared by their numbers."""
    return plain(one) == plain(other)


def plain(rows: Rows) -> list[object]:
    """Columns as lists."""
    return [
        rows.groups,
        rows.outcomes,
        rows.offsets.tolist(),
        rows.group.tolist(),
        rows.outcome.tolist(),
        rows.appended_ms.tolist(),
        rows.input_bytes.tolist(),
        rows.output_bytes.tolist(),
        rows.slack_ms.tolist(),
        rows.attempt.tolist(),
        list(rows.ids),
        list(rows.origins),
        rows.input_commitments,
        rows.output_commitments,
    ]
