"""The audit log in ClickHouse as a source: found and proved; whatever is altered in it is named."""

from collections.abc import Iterable, Iterator

import pytest

from chimera.schemas.errors import EvidenceAltered, EvidenceMalformed, EvidenceUntrusted
from chimera.schemas.signing import SigningKey
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.schemas.transparency.leaf_proofs import prove
from chimera.schemas.transparency.log_records import Indexed
from chimera.schemas.transparency.merkle import HASH_BYTES, leaf_hash, prove_inclusion, root
from chimera.schemas.transparency.proof_file import Proof
from chimera.schemas.transparency.subtrees import Subtrees
from chimera.schemas.transparency.verification import verify
from chimera.stores import audit_checkpoints, audit_log, audit_table
from chimera.stores.audit_table import AuditTable
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.sink import Limits, Sink
from chimera.stores.source import Record
from tests.schemas.transparency.logs import KEY, OTHER_KEY, make_policy
from tests.stores.audit_records import AT_MS, ORIGIN, body, emptied, leaf_record

LEAVES, SIZES = 1_700, (300, 1_500, 1_600)
POLICY = make_policy()
HASHES = [leaf_hash(body(number)) for number in range(LEAVES)]
TARGET = 700


def write_leaves(engine: ClickHouse, numbers: Iterable[int]) -> None:
    """By a sink that begins anew."""
    sink = Sink(engine, audit_log.destination(), Limits(rows=500))
    sink.resume(0)
    for number in numbers:
        sink.add(leaf_record(number))
    sink.flush(all=True)


def write_notes(engine: ClickHouse, key: SigningKey) -> None:
    sink = Sink(engine, audit_checkpoints.LOG)
    sink.resume(0)
    for offset, size in enumerate(SIZES):
        head = Checkpoint(ORIGIN, size, root(HASHES[:size]))
        sink.add(Record(0, offset, AT_MS, checkpoints.sign(head, key).encode()))
    sink.flush(all=True)


@pytest.fixture(scope="module")
def written(engine: ClickHouse) -> Iterator[ClickHouse]:
    """A log whose sink was started three times, kept beside the tables that tests alter."""
    emptied(engine)
    for start, end in ((0, 200), (200, 1_100), (1_100, LEAVES)):
        write_leaves(engine, range(start, end))
    write_notes(engine, KEY)
    for name in ("audit_log", "audit_checkpoints"):
        engine.command(f"CREATE TABLE chimera.{name}_as_written AS chimera.{name}")
        engine.command(f"INSERT INTO chimera.{name}_as_written SELECT * FROM chimera.{name}")
    yield engine
    for name in ("audit_log", "audit_checkpoints"):
        engine.command(f"DROP TABLE chimera.{name}_as_written")


@pytest.fixture
def table(written: ClickHouse) -> AuditTable:
    emptied(written)
    for name in ("audit_log", "audit_checkpoints"):
        written.command(f"INSERT INTO chimera.{name} SELECT * FROM chimera.{name}_as_written")
    return AuditTable(written)


def proved(table: AuditTable, number: int = TARGET) -> Proof:
    (leaf,) = table.find(f"r-{number}")
    return prove(table, leaf, POLICY)


def update(engine: ClickHouse, assignment: str, where: str) -> None:
    engine.command(
        f"ALTER TABLE chimera.audit_log UPDATE {assignment} WHERE {where} SETTINGS mutations_sync = 1"
    )


def test_leaf_is_found_and_proved_by_the_first_checkpoint_that_covers_it(table: AuditTable) -> None:
    for number, size in ((0, 300), (299, 300), (300, 1_500), (1_499, 1_500), (1_599, 1_600)):
        proof = proved(table, number)
        assert (proof.body, proof.index) == (body(number), number)
        assert list(proof.hashes) == prove_inclusion(HASHES[:size], number)
        assert proof.verify(POLICY).checkpoint.size == size
    assert table.find("nobody") == []


def test_subtrees_rest_beside_their_last_leaves(table: AuditTable, engine: ClickHouse) -> None:
    tree = Subtrees()
    expected = [b"".join(tree.append(one)) for one in HASHES]
    (found,) = engine.columns(("subtrees",), "FROM chimera.audit_log ORDER BY log_index")
    assert list(found) == expected
    assert sum(map(len, expected)) == HASH_BYTES * (6 + 3 + 1)


def test_table_of_an_older_release_is_proved_and_goes_on(
    table: AuditTable, engine: ClickHouse
) -> None:
    update(engine, "subtrees = ''", "log_index < 1600")
    assert list(proved(table).hashes) == prove_inclusion(HASHES[:1_500], TARGET)
    tree = table.tree()
    assert tree is not None and tree.size == LEAVES
    assert all(not tree.append(bytes(HASH_BYTES)) for _ in range(91))
    assert len(tree.append(bytes(HASH_BYTES))) == 1


def test_leaf_that_is_not_signed_yet_is_told(table: AuditTable) -> None:
    with pytest.raises(EvidenceMalformed, match="leaf 1650: no checkpoint covers it yet"):
        proved(table, 1_650)


def test_checkpoint_of_another_key_proves_nothing(table: AuditTable, engine: ClickHouse) -> None:
    engine.command("TRUNCATE TABLE chimera.audit_checkpoints")
    engine.command("DELETE FROM chimera.sink_batches WHERE sink = 'audit_checkpoints'")
    write_notes(engine, OTHER_KEY)
    with pytest.raises(EvidenceUntrusted, match="no trusted key"):
        proved(table)


OTHER_BYTES = "replaceOne(body, 'digits', 'finger')"


@pytest.mark.parametrize(
    ("assignment", "altered", "told"),
    [
        (f"body = {OTHER_BYTES}", TARGET, "its bytes are not those of its leaf hash"),
        ("leaf_hash = reverse(leaf_hash)", TARGET, "its bytes are not those of its leaf hash"),
        (f"body = {OTHER_BYTES}, leaf_hash = SHA256(concat(char(0), {OTHER_BYTES}))", TARGET, ""),
        ("leaf_hash = reverse(leaf_hash)", TARGET + 3, "its leaf hash alone"),
        ("subtrees = reverse(subtrees)", 1_023, "not the root of 768 to 1023"),
        ("subtrees = repeat('0', 64)", 511, "not the root of 0 to 511"),
    ],
)
def test_row_that_was_changed_is_named(
    table: AuditTable, engine: ClickHouse, assignment: str, altered: int, told: str
) -> None:
    update(engine, assignment, f"log_index = {altered}")
    with pytest.raises(EvidenceAltered, match=f"leaf {altered}: .*{told}") as error:
        proved(table)
    assert error.value.index == altered


def test_request_that_took_anothers_name_is_named(table: AuditTable, engine: ClickHouse) -> None:
    other = "replaceOne(body, 'r-701', 'r-702')"
    hashed = f"leaf_hash = SHA256(concat(char(0), {other}))"
    update(engine, f"body = {other}, {hashed}", "log_index = 701")
    one, two = table.find("r-702")
    assert (one.log_index, two.log_index) == (701, 702)
    with pytest.raises(EvidenceAltered, match="leaf 701: changed"):
        prove(table, one, POLICY)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM chimera.audit_log WHERE log_index = 702", "leaf 702: deleted"),
        (
            "INSERT INTO chimera.audit_log SELECT * FROM chimera.audit_log WHERE log_index = 702",
            "leaf 702: inserted",
        ),
        ("DELETE FROM chimera.audit_log WHERE log_index = 767", "leaf 767: deleted"),
    ],
)
def test_row_that_is_missing_or_there_twice_is_named(
    table: AuditTable, engine: ClickHouse, statement: str, told: str
) -> None:
    engine.command(statement)
    with pytest.raises(EvidenceAltered, match=told):
        proved(table)


def test_history_that_was_rewritten_is_told_to_the_checkpoint(engine: ClickHouse) -> None:
    emptied(engine)
    sink = Sink(engine, audit_log.destination())
    sink.resume(0)
    for number in range(LEAVES):
        record = leaf_record(number)
        if number == 400:
            record = record._replace(value=record.value.replace(b"digits", b"finger"))
        sink.add(record)
    sink.flush(all=True)
    write_notes(engine, KEY)
    told = "leaves 300 to 1499: rewritten: each hash is right"
    with pytest.raises(EvidenceAltered, match=told):
        proved(AuditTable(engine))


def test_table_is_verified_from_its_first_row_to_its_last(
    table: AuditTable, engine: ClickHouse
) -> None:
    notes = table.checkpoints()
    assert verify(table.rows(1_600), notes, POLICY).faults == ()
    update(engine, f"body = {OTHER_BYTES}", "log_index = 3")
    (fault,) = verify(table.rows(1_600), notes, POLICY).faults
    assert (fault.kind, fault.index) == ("changed", 3)
    assert proved(table).index == TARGET  # its own path does not lead over that row


def test_leaf_of_an_index_that_the_log_has_not_is_refused(table: AuditTable) -> None:
    with pytest.raises(EvidenceAltered, match="leaf 700"):
        prove(table, Indexed(TARGET, body(3)), POLICY)


def test_rows_end_where_the_table_ends_whatever_size_is_claimed(
    table: AuditTable, engine: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_table, "_PAGE_ROWS", 500)
    assert [row.log_index for row in table.rows(10**18)] == list(range(LEAVES))
    two = "(SELECT * FROM chimera.audit_log WHERE log_index < 2)"
    engine.command(
        "INSERT INTO chimera.audit_log"
        f" SELECT * REPLACE (log_index + 1000000000000000 AS log_index) FROM {two}"
    )
    (*rows, one, other) = table.rows(10**18)
    assert (len(rows), one.log_index, other.log_index) == (LEAVES, 10**15, 10**15 + 1)
    assert len(list(table.rows(700))) == 700
