import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency.compact_range import CompactRange, decode
from chimera.schemas.transparency.merkle import leaf_hash, root

LEAVES = [leaf_hash(str(number).encode()) for number in range(300)]


def test_root_of_each_size_is_that_of_the_whole_tree() -> None:
    tree = CompactRange()
    assert tree.root() == root([])
    for size, leaf in enumerate(LEAVES, start=1):
        tree = tree.extend([leaf])
        assert tree.size == size
        assert tree.root() == root(LEAVES[:size])


@given(st.lists(st.integers(0, 300), max_size=6).map(sorted))
def test_range_is_the_same_however_the_leaves_come(cuts: list[int]) -> None:
    tree = CompactRange()
    for first, end in zip([0, *cuts], [*cuts, 300], strict=True):
        tree = tree.extend(iter(LEAVES[first:end]))
    assert tree == CompactRange().extend(LEAVES)


@given(st.integers(0, 300))
def test_range_comes_back_from_a_header_and_goes_on(size: int) -> None:
    tree = CompactRange().extend(LEAVES[:size])
    read = decode(tree.encode())
    assert read == tree
    assert read.extend(LEAVES[size:]).root() == root(LEAVES)


def test_header_never_changes() -> None:
    """The log outlives releases."""
    raw = CompactRange().extend(LEAVES[:3]).encode()
    assert raw == (3).to_bytes(8, "big") + root(LEAVES[:2]) + LEAVES[2]


@given(st.binary(max_size=200) | st.integers(0, 2**64 - 1).map(lambda n: n.to_bytes(8, "big")))
def test_header_that_is_none_is_refused_or_is_one(raw: bytes) -> None:
    try:
        assert decode(raw).encode() == raw
    except EvidenceMalformed as error:
        assert "compact range" in str(error)


def test_header_that_is_cut_or_longer_is_refused() -> None:
    raw = CompactRange().extend(LEAVES[:7]).encode()
    for wrong in (raw[:-1], raw + b"\0", raw[8:], b"", b"\xff" + raw[1:]):
        with pytest.raises(EvidenceMalformed, match="compact range"):
            decode(wrong)
