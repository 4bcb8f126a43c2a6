import hashlib

from chimera.schemas.transparency.chain import START, link, links
from chimera.schemas.transparency.merkle import leaf_hash, node_hash

LEAVES = [leaf_hash(str(number).encode()) for number in range(5)]


def test_first_link_is_over_32_zero_bytes() -> None:
    assert next(links(LEAVES)) == hashlib.sha256(b"\x02" + bytes(32) + LEAVES[0]).digest()


def test_chain_goes_on_from_where_it_was() -> None:
    whole = list(links(LEAVES))
    assert [*links(LEAVES[:2]), *links(LEAVES[2:], whole[1])] == whole


def test_link_is_no_node() -> None:
    assert link(START, LEAVES[0]) != node_hash(START, LEAVES[0])
