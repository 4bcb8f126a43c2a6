"""Proofs of what was remembered are those of the whole log; what was forgotten is not proved."""

from hypothesis import given
from hypothesis import strategies as st

from chimera.agents.sequencing.growth import Growth
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.merkle import leaf_hash
from chimera.schemas.transparency.proving import prove_extension

LEAVES = [leaf_hash(b"%d" % at) for at in range(200)]


def tree(size: int) -> CompactRange:
    return CompactRange().extend(LEAVES[:size])


def grown(start: int, *ends: int) -> Growth:
    """Opened at a size, and grown to others."""
    found = Growth()
    for end in ends:
        found.add(tree(start), LEAVES[start:end])
        start = end
    return found


@given(st.lists(st.integers(1, 200), min_size=4, max_size=8).map(sorted), st.data())
def test_proof_is_that_of_the_whole_log(sizes: list[int], data: st.DataObject) -> None:
    start, *ends = sizes
    found = grown(start, *ends)
    forgotten = data.draw(st.integers(start, ends[-1]))
    found.forget(forgotten)
    old = data.draw(st.integers(forgotten, ends[-1]))
    new = data.draw(st.integers(old, ends[-1]))
    make = found.proof(old, new)
    assert make is not None
    assert make() == prove_extension(tree(old), LEAVES[old:new])


def test_what_is_not_remembered_is_not_proved() -> None:
    found = grown(40, 90, 120)
    assert found.proof(39, 120) is None
    assert found.proof(40, 121) is None
    assert found.proof(120, 40) is None
    found.forget(100)
    assert found.proof(99, 120) is None
    assert found.proof(100, 120) is not None
    found.forget(99)
    found.forget(121)  # nobody has seen that here
    assert found.proof(100, 120) is not None


def test_log_that_somebody_else_went_on_with_is_begun_anew() -> None:
    found = grown(0, 50)
    found.add(tree(70), LEAVES[70:80])
    assert found.proof(40, 80) is None
    assert found.proof(70, 80) is not None


def test_no_more_is_remembered_than_fits() -> None:
    found = Growth(50)
    for start in (0, 40, 80):
        found.add(tree(start), LEAVES[start : start + 40])
    assert found.proof(40, 120) is None
    assert found.proof(80, 120) is not None
