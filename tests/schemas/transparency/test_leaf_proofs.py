"""What is named where a proof does not lead to the root, in a log that misses requests as well."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from chimera.schemas.errors import EvidenceAltered
from chimera.schemas.transparency.leaf_proofs import prove
from chimera.schemas.transparency.leaves import OffsetsReconciled, encode_leaf
from chimera.schemas.transparency.log_records import Indexed
from chimera.schemas.transparency.merkle import leaf_hash, prove_inclusion
from chimera.schemas.transparency.row import Row
from tests.schemas.transparency.logs import Log, make_log, make_policy

MISSED = OffsetsReconciled(
    at_ms=1,
    tenant="default",
    topic="inference.requests",
    partition=0,
    first_offset="0",
    end_offset="9",
    committed=9,
    leaves=4,
    missing=5,
    repeated=0,
)


@dataclass
class Lying:
    """A source whose row was changed, with its hash."""

    log: Log
    changed: int

    def rows(self, size: int) -> Iterator[Row]:
        for row in self.log.rows()[:size]:
            body = row.body.replace(b"digits", b"finger")
            is_other = row.log_index == self.changed
            yield row._replace(body=body, leaf_hash=leaf_hash(body)) if is_other else row

    def find(self, request_id: str) -> list[Indexed]:
        name = f'"request_id":"{request_id}"'.encode()
        return [Indexed(row.log_index, row.body) for row in self.rows(99) if name in row.body]

    def path(self, index: int, size: int) -> list[bytes]:
        return prove_inclusion([row.leaf_hash for row in self.rows(size)], index)

    def checkpoints(self) -> list[bytes]:
        return [self.log.checkpoint(len(self.log.bodies))]

    def covering(self, index: int) -> Iterator[bytes]:
        yield from self.checkpoints() if index >= 0 else ()


def test_row_that_was_changed_is_named_and_not_what_was_omitted_before_it() -> None:
    bodies = make_log(8).bodies
    source = Lying(Log([*bodies[:4], encode_leaf(MISSED), *bodies[4:]]), changed=6)
    (leaf,) = source.find("r-7")
    with pytest.raises(EvidenceAltered, match="leaf 6: changed"):
        prove(source, leaf, make_policy())


def test_log_that_misses_requests_proves_those_that_it_has() -> None:
    source = Lying(Log([*make_log(4).bodies, encode_leaf(MISSED)]), changed=-1)
    (leaf,) = source.find("r-2")
    assert prove(source, leaf, make_policy()).index == 2
