"""One pass over rows: roots at every size, guarantees, and rows that are no leaf of ours."""

from typing import Any

import pytest

from chimera.schemas.transparency import scan as module
from chimera.schemas.transparency.leaves import encode_leaf
from chimera.schemas.transparency.merkle import root
from chimera.schemas.transparency.scan import MIXED, KeyUse, Span, scan
from tests.schemas.transparency.logs import Log, make_log, served


@pytest.mark.parametrize("flush", [1, 3, 8, 4_096])
def test_root_is_found_at_each_size_that_is_asked_for(
    flush: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FLUSH", flush)
    log = make_log(30)
    found = scan(log.rows(), [*range(31), 30, 50])
    assert found.roots == {size: root(log.leaf_hashes[:size]) for size in range(31)}
    assert (found.tree.size, found.end, found.broken) == (30, 30, None)
    assert scan(log.rows(), [7, 19]).roots.keys() == {7, 19}
    assert scan(log.rows(), []).tree == found.tree


def test_nothing_has_the_empty_root() -> None:
    assert scan([], [0, 1]).roots == {0: root([])}


def mixed(pattern: str) -> Log:
    """A letter a leaf: once, least once, failed before and retried, repeated, other."""
    least = {"guarantee": "at_least_once"}
    kinds: dict[str, dict[str, Any]] = {
        "o": {},
        "l": least,
        "f": least | {"attempt": 1},
        "r": least | {"offset": "0"},
    }
    known = (encode_leaf(served(at, **kinds.get(one, {}))) for at, one in enumerate(pattern))
    others = {".": b"no JSON", "[": b"[" * 5_000, "x": b'{"guarantee":1}', "-": b"{}"}
    return Log([others.get(one, body) for one, body in zip(pattern, known, strict=True)])


def test_guarantee_of_each_range_is_told() -> None:
    found = scan(mixed("oo-olfrr-lo").rows(), [])
    assert found.spans == [
        Span(0, 3, "exactly_once", 0),
        Span(4, 9, "at_least_once", 2, 6),
        Span(10, 10, "exactly_once", 0),
    ]


def test_repeat_is_of_its_own_lane() -> None:
    offsets = [("a", 0, 7), ("b", 0, 3), ("a", 1, 3), ("a", 0, 7), ("a", 0, 8), ("a", 1, 2)]
    bodies = [
        encode_leaf(served(0, topic=topic, partition=partition, offset=str(offset)))
        for topic, partition, offset in offsets
    ]
    assert scan(Log(bodies).rows(), []).spans == [Span(0, 5, "exactly_once", 2, 3)]


def test_rows_that_are_no_leaf_are_counted_and_hashed() -> None:
    log = mixed("o.[x-l")
    found = scan(log.rows(), [6])
    assert found.unreadable == 3
    assert found.roots[6] == root(log.leaf_hashes)
    assert found.broken is None


def test_ranges_that_are_too_many_end_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SPANS", 2)
    assert scan(mixed("olorlo").rows(), []).spans == [
        Span(0, 0, "exactly_once", 0),
        Span(1, 5, MIXED, 1, 3),
    ]


def test_keys_of_commitments_are_told_with_their_leaves() -> None:
    one, other = "0d" * 16, "0e" * 16
    keys = [one, one, None, other, one]
    bodies = [encode_leaf(served(at, commitment_key=key)) for at, key in enumerate(keys)]
    found = scan(Log(bodies).rows(), []).keys
    assert found == [KeyUse("acme", one, 0, 4, 3), KeyUse("acme", other, 3, 3, 1)]
