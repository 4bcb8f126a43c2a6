import hmac
from collections.abc import Sequence
from pathlib import Path

import pytest

from chimera.schemas.columns import constant
from chimera.schemas.commitments import Commitments
from chimera.schemas.journal import SegmentHead, decode_segment, encode_segment
from chimera.schemas.journal_rows import NO_SLACK, OK, PART_ROWS, Rows
from chimera.schemas.notes import Note, read_note
from chimera.schemas.responses import Plain
from chimera.schemas.work import BatchStory
from chimera.workers.ledger import Ledger, Pages, group_of, put
from chimera.workers.tenant_keys import TenantKeys
from tests.workers.rig import work

KEY = bytes(range(32))
STORY = BatchStory("m", "1", "ab", "onnx-cpu", 3, 700, executor="cpu:0")
FIRST, SECOND = group_of(STORY, 5, 9), group_of(STORY, 6, 8)


def pages(count: int, key: bytes = b"", *, start: int = 40) -> Pages:
    """Of a block whose requests are answered in two batches: the odd ones, and the even ones."""
    given = work([b"value %d" % at for at in range(count)], start=start)
    keys = Commitments(key) if key else None
    found = Pages(given, list(map(len, given.values)), constant(1_000, count), keys)
    for group, places in ((FIRST, range(1, count, 2)), (SECOND, range(0, count, 2))):
        names = [b"id %d" % at for at in places]
        results = Plain.of([b"answer %d" % at for at in places])
        found.add(list(places), group, names, results)
    return found


def read(raw: bytes) -> list[Rows]:
    head = SegmentHead(topic="t", partition=0, start=0, next=2**40, guarantee="exactly_once")
    return list(decode_segment(encode_segment(head, [raw]))[1])


def test_pages_become_rows_in_the_requests_order() -> None:
    (rows,) = read(pages(5).parts([1, 0, 1, 0, 1]))
    assert rows.offsets.tolist() == [40, 41, 42, 43, 44]
    assert [rows.groups[at] for at in rows.group.tolist()] == [SECOND, FIRST] * 2 + [SECOND]
    assert rows.ids == [b"id %d" % at for at in range(5)]
    assert rows.input_bytes.tolist() == [7] * 5
    assert rows.output_bytes.tolist() == [8] * 5
    assert (rows.outcomes, rows.outcome.tolist()) == ((OK,), [0] * 5)
    assert (rows.slack_ms.tolist(), rows.attempt.tolist()) == ([NO_SLACK] * 5, [0] * 5)
    assert (rows.input_commitments, rows.output_commitments) == (b"", b"")


def test_pages_commit_to_each_request_and_answer() -> None:
    (rows,) = read(pages(3, KEY).parts([1, 0, 1]))
    given = [hmac.digest(KEY, b"value %d" % at, "sha256") for at in range(3)]
    answers = [hmac.digest(KEY, b"answer %d" % at, "sha256") for at in range(3)]
    assert rows.input_commitments == b"".join(given)
    assert rows.output_commitments == b"".join(answers)
    assert {one.commitment_key for one in rows.groups} == {Commitments(KEY).key_id.hex()}


def test_pages_of_a_large_block_are_several_parts() -> None:
    count = 2 * PART_ROWS + 3
    found = read(pages(count, KEY).parts([(at + 1) % 2 for at in range(count)]))
    assert [len(rows) for rows in found] == [PART_ROWS, PART_ROWS, 3]
    assert [name for rows in found for name in rows.ids] == [b"id %d" % at for at in range(count)]


@pytest.mark.parametrize("key", [b"", KEY])
def test_note_of_a_page_says_what_its_row_would(key: bytes) -> None:
    note = read_note(pages(3, key).note(1, 0))
    given = hmac.digest(key, b"value 1", "sha256") if key else b""
    answer = hmac.digest(key, b"answer 1", "sha256") if key else b""
    named = Commitments(key).key_id if key else b""
    assert note == Note(5, 9, b"id 1", given, answer, named)


def test_notes_commit_with_their_tenants_keys(tmp_path: Path) -> None:
    path = tmp_path / "acme.key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    extras = {1: {"tenant": "acme"}, 2: {"tenant": "acme"}}
    given = work([b"a", b"b", b"c"], extras=extras)
    ledger = Ledger("cpu:0", TenantKeys(tmp_path))
    values = [b"A", b"B", b""]
    raw = ledger.notes(given, range(3), Note(5, 9), [b"x", b"y", b"z"], values)
    committed = [hmac.digest(KEY, one, "sha256") for one in (b"b", b"B")]
    committed.append(Commitments(KEY).key_id)
    assert [read_note(one) for one in raw] == [
        Note(5, 9, b"x"),
        Note(5, 9, b"y", *committed),
        Note(5, 9, b"z"),  # an error's lane commits to its record
    ]


@pytest.mark.parametrize("indexes", [range(1, 3), [3, 0], [2]])
def test_values_are_put_into_their_places(indexes: Sequence[int]) -> None:
    column = list("abcd")
    put(column, indexes, [str(at) for at in indexes])
    assert column == [str(at) if at in indexes else "abcd"[at] for at in range(4)]
