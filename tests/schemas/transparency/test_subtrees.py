"""What is kept beside leaves, and paths made of it: the same as those of whole trees."""

from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.transparency.merkle import leaf_hash, prove_inclusion, root
from chimera.schemas.transparency.subtrees import TILE, Place, Subtrees, path, peaks, wanted

MOST = 11 * TILE + 7
HASHES = [leaf_hash(b"%d" % number) for number in range(MOST)]


def kept(tree: Subtrees, end: int) -> dict[Place, bytes]:
    """All that is kept while a log grows to `end` leaves."""
    found: dict[Place, bytes] = {}
    for at in range(tree.size, end):
        for number, hashed in enumerate(tree.append(HASHES[at])):
            found[Place(at, number)] = hashed
    return found


KEPT = kept(Subtrees(), MOST)

sizes = st.integers(1, MOST) | st.integers(1, MOST // TILE).map(lambda tiles: tiles * TILE)


def test_each_subtree_is_kept_once_and_beside_its_last_leaf() -> None:
    assert len(KEPT) == sum(MOST // (TILE << height) for height in range(4))
    for place, hashed in KEPT.items():
        first, end = place.range
        assert end == place.last + 1 and first % (end - first) == 0
        assert hashed == root(HASHES[first:end])


@given(st.data(), sizes)
def test_path_is_that_of_the_whole_tree(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    needed = wanted(index, size)
    leaves = {at: HASHES[at] for span in needed.leaves for at in range(*span)}
    assert len(leaves) <= 2 * TILE and index in leaves
    found = path(index, size, {place: KEPT[place] for place in needed.places}, leaves)
    assert found == prove_inclusion(HASHES[:size], index)


@given(sizes)
def test_log_goes_on_from_what_is_kept(size: int) -> None:
    tiles = size // TILE
    tree = Subtrees(tiles, [KEPT[place] for place in peaks(size)], HASHES[tiles * TILE : size])
    assert tree.size == size
    expected = {place: hashed for place, hashed in KEPT.items() if place.last >= size}
    assert kept(tree, MOST) == expected


def test_few_rows_are_wanted_of_a_long_log() -> None:
    needed = wanted(2**40 + 12_345, 2**41 + 54_321)
    assert len(needed.places) < 64
    assert sum(end - start for start, end in needed.leaves) <= 2 * TILE
