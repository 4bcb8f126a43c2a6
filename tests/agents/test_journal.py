"""The journal of a lane on the bench: rows of what its window decides, in what a commit produces."""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

import hmac
import time
from pathlib import Path

import pytest
from aiokafka.record.default_records import DefaultRecordBatch

from chimera.agents.lanes.outcomes import Composer
from chimera.schemas import headers
from chimera.schemas.commitments import Commitments
from chimera.schemas.errors import ModelFailed, SchemaInvalid
from chimera.schemas.journal import SegmentHead, decode_segment, framed
from chimera.schemas.journal_rows import NO_COMMITMENT, NO_SLACK, Rows, write_part
from chimera.schemas.notes import Note, write_note
from chimera.schemas.withheld import Withheld
from chimera.topics import dead_letters
from chimera.topics.dead_letters import Copy, Failure, Origin, Story
from chimera.topics.producers import Produced
from tests.agents.lanes import Bench, Kafka
from tests.integration.journals import Row, single
from tests.schemas.journal_samples import GOLDEN, same

KEY = bytes(range(32))
TAIL = headers.tail(b"the answer", 0, b"")
NOTE = write_note(Note(5, 9, b"a", b"i" * 32, b"o" * 32, b"k" * 16))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return bench_on(tmp_path)


def bench_on(folder: Path, topic: str = "inference.requests", **serving: object) -> Bench:
    path = folder / "default.key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    return Bench(topic=topic, keys_dir=folder, **serving).open()


def composed(bench: Bench) -> list[Produced]:
    prefix, journal = bench.lane.prefix(1_000), bench.lane.journal
    return Composer(bench.shared.catalogue, 0).compose(prefix, journal)


def segments(bench: Bench) -> list[tuple[SegmentHead, list[Rows]]]:
    """Those of the next commit."""
    name = bench.shared.catalogue.journal.name
    found: list[tuple[SegmentHead, list[Rows]]] = []
    for one in composed(bench):
        if one.topic == name:
            (record,) = DefaultRecordBatch(one.records.sent_by(1, 0, 0, transactional=True))
            head, parts = decode_segment(record.value or b"")
            found.append((head, list(parts)))
    return found


def rows(bench: Bench) -> list[Row]:
    return [row for _, parts in segments(bench) for part in parts for row in single(part)]


def commit(bench: Bench) -> None:
    bench.lane.committed(bench.lane.prefix(100), 1_000)


def mac(value: bytes) -> bytes:
    return hmac.digest(KEY, value, "sha256")


def test_response_has_the_executors_note_and_its_records_headers(bench: Bench) -> None:
    deadline_ms = time.time_ns() // 1_000_000 + 60_000
    told = [("chimera-deadline", b"%d" % deadline_ms), ("chimera-tenant", b"acme")]
    bench.put(Kafka(0, headers=list(told)), Kafka(1))
    bench.answer(0, 1, tail=TAIL, note=NOTE)
    first, second = rows(bench)
    assert (first.group.tenant, second.group.tenant) == ("acme", "default")
    assert 0 < first.slack_ms <= 60_000
    assert second.slack_ms == NO_SLACK
    assert (first.group.model, first.group.queue_us, first.group.total_us) == ("digits", 5, 9)
    assert (first.outcome, first.id, first.output_bytes) == ("ok", "a", len(b"the answer"))
    assert (first.input_commitment, first.output_commitment) == (b"i" * 32, b"o" * 32)
    assert first.group.commitment_key == (b"k" * 16).hex()


def test_error_commits_to_what_its_result_says(bench: Bench) -> None:
    record = Kafka(0)
    bench.put(record, Kafka(1, headers=[("chimera-tenant", b"acme")]))
    bench.fail(0, SchemaInvalid)
    bench.fail(1, SchemaInvalid)
    (results,) = [
        one for one in composed(bench) if one.topic == bench.shared.catalogue.results.name
    ]
    sent = list(DefaultRecordBatch(results.records.sent_by(1, 0, 0, transactional=True)))
    first, second = rows(bench)
    assert (first.outcome, first.group.model, first.id) == ("schema_invalid", "digits", "a")
    assert (first.group.version, first.attempt) == ("1", 0)
    assert first.input_commitment == mac(record.value or b"")
    assert first.output_commitment == mac(sent[0].value or b"")
    keys = (first.group.commitment_key, second.group.commitment_key)
    assert keys == (Commitments(KEY).key_id.hex(), "")
    assert (second.group.tenant, second.output_commitment) == ("acme", NO_COMMITMENT)


def test_request_that_no_executor_saw_has_a_row(bench: Bench) -> None:
    bench.put(Kafka(0, headers=[("chimera-deadline", b"x")]))
    (row,) = rows(bench)
    assert (row.outcome, row.group.batch_size, row.slack_ms) == ("schema_invalid", 0, NO_SLACK)


def test_request_that_nobody_unpacked_commits_to_its_result_alone(bench: Bench) -> None:
    bench.put(Withheld(0, 1_000))
    (row,) = rows(bench)
    assert (row.outcome, row.input_bytes, row.input_commitment) == ("too_large", 0, NO_COMMITMENT)
    assert row.output_commitment != NO_COMMITMENT


def test_request_that_is_tried_again_says_how_often_it_failed(bench: Bench) -> None:
    bench.put(Kafka(0))
    bench.fail(0, ModelFailed)
    assert bench.decided() == []
    bench.answer(0, tail=TAIL, note=NOTE)
    (row,) = rows(bench)
    assert (row.outcome, row.attempt) == ("ok", 1)


def test_request_that_goes_to_a_retry_topic_has_a_row_on_each(tmp_path: Path) -> None:
    bench = bench_on(tmp_path)
    bench.put(Kafka(0))
    bench.fail(0, ModelFailed, ordering="none")
    (row,) = rows(bench)
    assert (row.outcome, row.attempt, row.output_bytes) == ("retry", 0, 0)
    assert (row.input_commitment, row.output_commitment) == (
        mac(Kafka(0).value or b""),
        NO_COMMITMENT,
    )
    retries = bench_on(tmp_path, bench.shared.catalogue.retries[0].name)
    original = Copy(b"key", Kafka(0).value, [("chimera-tenant", b"acme")])
    failure = Failure("model_error", "it failed", 1, 5)
    copy = dead_letters.retry(original, Story(Origin("inference.requests", 0, 7, 5), failure, 1))
    retries.put(Kafka(3, headers=copy.headers), start=0)
    retries.lane.tick(time.monotonic(), time.time_ns() // 1_000_000)
    retries.answer(3, tail=TAIL, note=NOTE)
    (row,) = rows(retries)
    assert (row.outcome, row.attempt) == ("ok", 1)
    assert (row.origin, row.group.tenant) == ("inference.requests:0:7", "acme")


def test_blocks_rows_go_on_as_they_are_between_others(bench: Bench) -> None:
    (given,) = GOLDEN[1]  # offsets 40 to 43
    bench.lane.rewind(39)
    bench.put(Kafka(39))
    bench.put_raw(40, 64)
    bench.put(Kafka(104))
    bench.answer(39, 104, tail=TAIL, note=NOTE)
    bench.answer_block(bench.executors.blocks[-1], framed(write_part(given)))
    ((head, (before, between, after)),) = segments(bench)
    assert (head.start, head.next) == (39, 105)
    assert head.requests == 66  # as the lane counts them; this executor has told of 4 in its block
    assert (before.offsets.tolist(), after.offsets.tolist()) == ([39], [104])
    assert same(between, given)


def test_segments_follow_each_other(bench: Bench) -> None:
    bench.put(Kafka(0), Kafka(1), Kafka(4))
    bench.answer(0, 1, tail=TAIL, note=NOTE)
    ((first, _),) = segments(bench)
    commit(bench)
    bench.answer(4, tail=TAIL, note=NOTE)
    ((second, _),) = segments(bench)
    assert (first.start, first.next, second.start, second.next) == (0, 2, 2, 5)
    assert (first.requests, second.requests) == (2, 1)


def test_window_that_was_fenced_is_told_again_from_what_is_committed(bench: Bench) -> None:
    bench.put(Kafka(0), Kafka(1), Kafka(2))
    bench.answer(0, 1, 2, tail=TAIL, note=NOTE)
    assert len(rows(bench)) == 3  # composed, and never committed by this producer
    bench.lane.rewind(1)
    ((head, (part,)),) = segments(bench)
    assert (head.start, head.next, part.offsets.tolist()) == (1, 3, [1, 2])
    assert [row.id for row in single(part)] == ["a", "a"]


def test_rows_of_a_large_window_are_several_parts(bench: Bench) -> None:
    bench.put(*(Kafka(at) for at in range(600)))
    bench.answer(*range(600), tail=TAIL, note=NOTE)
    ((_, parts),) = segments(bench)
    assert [len(part) for part in parts] == [512, 88]
