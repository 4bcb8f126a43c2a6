"""The audit log in ClickHouse: rows that the verifier accepts, through restarts, holes and tampering."""

from collections.abc import Sequence

import pytest

from chimera.schemas.errors import Malformed
from chimera.schemas.signing import new_key
from chimera.schemas.transparency import chain, checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.schemas.transparency.merkle import leaf_hash, root
from chimera.schemas.transparency.policy import LogKey, Policy
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.verification import verify
from chimera.stores import audit_checkpoints, audit_log
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.sink import Limits, Sink
from chimera.stores.source import Record
from tests.stores import audit_records
from tests.stores.audit_records import ORIGIN, body, leaf_record


def rows(engine: ClickHouse) -> list[Row]:
    found = engine.rows(
        "SELECT log_index, hex(body), hex(leaf_hash), hex(chain_hash) FROM chimera.audit_log"
        " ORDER BY log_offset"
    )
    return [Row(at, *map(bytes.fromhex, hashes)) for at, *hashes in found]


@pytest.fixture
def emptied(engine: ClickHouse) -> ClickHouse:
    return audit_records.emptied(engine)


def sink(engine: ClickHouse) -> Sink:
    found = Sink(engine, audit_log.destination(), Limits(rows=40))
    found.resume(0)
    return found


def test_rows_verify_against_a_signed_checkpoint(emptied: ClickHouse) -> None:
    for life in range(3):  # the chain goes on where the table ends
        one = sink(emptied)
        for number in range((life + 1) * 50):
            one.add(leaf_record(number))
        one.flush(all=True)
    found = rows(emptied)
    key = new_key()
    head = Checkpoint(ORIGIN, 150, root([leaf_hash(body(at)) for at in range(150)]))
    note = checkpoints.sign(head, key)
    notes = Sink(emptied, audit_checkpoints.LOG)
    notes.resume(0)
    notes.add(Record(0, 0, 1_767_225_600_000, note.encode()))
    notes.add(Record(0, 1, 1_767_225_600_000, b"no note"))
    notes.flush(all=True)
    policy = Policy((LogKey(checkpoints.log_key(ORIGIN, key)),))
    assert verify(found, [note.encode()], policy).faults == ()
    told = emptied.rows(
        "SELECT origin, size, hex(root), signers, error != '' FROM chimera.audit_checkpoints"
        " ORDER BY checkpoints_offset"
    )
    assert [tuple(one) for one in told] == [
        (ORIGIN, 150, head.root.hex().upper(), [ORIGIN], 0),
        ("", 0, "00" * 32, [], 1),
    ]


def test_one_leaf_is_found_by_its_request(emptied: ClickHouse) -> None:
    one = sink(emptied)
    for number in range(40):
        one.add(leaf_record(number))
    found = emptied.rows(
        "SELECT log_index, leaf, tenant, body FROM chimera.audit_log WHERE request_id = 'r-17'"
    )
    assert [tuple(row) for row in found] == [(17, "request", "acme", body(17).decode())]


def test_holes_and_repeats_are_kept_for_the_verifier(emptied: ClickHouse) -> None:
    one = sink(emptied)
    for offset, index in enumerate((0, 1, 3, 3)):
        one.add(leaf_record(index)._replace(offset=offset))
    one.flush(all=True)
    found = rows(emptied)
    assert [row.log_index for row in found] == [0, 1, 3, 3]
    hashes: Sequence[bytes] = [row.leaf_hash for row in found]
    assert [row.chain_hash for row in found] == list(chain.links(hashes))


@pytest.mark.parametrize("headers", [(), (("chimera-log-index", b"-1"),)])
def test_leaf_without_a_place_stops_the_sink(
    emptied: ClickHouse, headers: tuple[tuple[str, bytes], ...]
) -> None:
    with pytest.raises(Malformed, match="offset 4"):
        sink(emptied).add(leaf_record(4)._replace(headers=headers))
