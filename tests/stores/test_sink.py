"""Sinks on the real engine: each row once, whatever happened in between."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chimera.schemas.errors import (
    ClickHouseUnavailable,
    HistoryConflict,
    KafkaUnavailable,
    Malformed,
)
from chimera.stores import inference_log, retention
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.sink import Limits, Sink
from tests.stores.sink_records import APART, SIZE, record

TABLE = "chimera.inference_log"
PLACES = {"id", "offset", "journal_offset", "appended_at", "committed_at"}  # of a segment's own


class Flaky:
    """The engine behind a line that loses answers: the statement is done, nobody hears of it."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine
        self.losing = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def insert(self, *given: Any) -> None:
        self._engine.insert(*given)
        self._lose()

    def command(self, sql: str) -> None:
        self._engine.command(sql)
        self._lose()

    def _lose(self) -> None:
        if self.losing:
            self.losing -= 1
            raise ClickHouseUnavailable("no answer")


def sink(engine: Any, **limits: Any) -> Sink:
    return Sink(engine, inference_log.LOG, Limits(**limits))


def counts(engine: ClickHouse, partition: int) -> tuple[int, int, int]:
    """Rows, distinct requests, and one more than the largest offset."""
    ((rows, distinct, largest),) = engine.rows(
        f"SELECT count(), uniqExact(offset), max(offset) FROM {TABLE}"
        " WHERE journal_partition = {partition:UInt32}",
        {"partition": partition},
    )
    return rows, distinct, largest + 1 if rows else 0


def test_rows_say_what_the_segment_said(engine: ClickHouse, partition: int) -> None:
    one = sink(engine)
    assert one.resume(partition) == 0
    one.add(record(partition, 0))
    assert one.flush(all=True) == {partition: 1}
    rows = engine.rows(
        "SELECT tenant, model, version, digest, tier, executor, batch_size, queue_us, compute_us,"
        " total_us, outcome, id, topic, partition, offset, guarantee, node, attempt, input_bytes,"
        " output_bytes, hex(input_commitment), commitment_key, slack_ms, toUnixTimestamp64Milli(appended_at),"
        f" toUnixTimestamp64Milli(committed_at), journal_offset FROM {TABLE}"
        " WHERE journal_partition = {partition:UInt32} ORDER BY offset LIMIT 2",
        {"partition": partition},
    )
    at_ms = record(partition, 0).at_ms
    where = ("inference.requests", partition)
    commitment = bytes(range(32)).hex().upper()
    assert [tuple(row) for row in rows] == [
        (
            *("default", "digits", "1", "d" * 64, "onnx-cpu", "cpu:0", 2, 90, 700, 800),
            *("ok", "id-0", *where, 0, "exactly_once", "n:1", 0, 1_300, 2**32 - 1),
            *(commitment, "aa11", None, at_ms - 7, at_ms, 0),
        ),
        (
            *("acme", "words", "2", "e" * 64, "torch-cpu", "cpu:1", 1, 9, 70, 80),
            *("ok", "id-1", *where, 1, "exactly_once", "n:1", 0, 1_301, 1),
            *(commitment, "", -5, at_ms - 7, at_ms, 0),
        ),
    ]


def test_one_request_is_found_by_an_index(engine: ClickHouse, partition: int) -> None:
    one = sink(engine)
    one.resume(partition)
    one.add(record(partition, 0))
    one.flush(all=True)
    plan = engine.rows(f"EXPLAIN indexes = 1 SELECT count() FROM {TABLE} WHERE id = 'id-3'")
    assert any("by_id" in line for (line,) in plan)


def test_batch_ends_by_rows_by_bytes_and_by_time(engine: ClickHouse, partition: int) -> None:
    one = sink(engine, rows=3 * SIZE, seconds=1_000)
    one.resume(partition)
    for number in range(4):
        one.add(record(partition, number))
    assert counts(engine, partition)[0] == 3 * SIZE
    assert one.flush() == {partition: 3 * APART}
    assert one.flush(all=True) == {partition: 3 * APART + 1}
    small = sink(engine, bytes=1)
    small.resume(partition)
    small.add(record(partition, 4))
    timed = sink(engine, seconds=0)
    timed.resume(partition)
    timed.add(record(partition, 5))
    timed.flush()
    assert counts(engine, partition) == (6 * SIZE, 6 * SIZE, 6 * SIZE)


def test_batch_lies_inside_one_month(engine: ClickHouse, partition: int) -> None:
    one = sink(engine)
    one.resume(partition)
    for number in range(10):  # a year ends between the fifth and the sixth
        one.add(record(partition, number))
    one.flush(all=True)
    assert decided(engine, partition) == [(0, 8, 50), (10, 18, 50)]
    assert counts(engine, partition) == (100, 100, 100)


def test_records_that_come_again_are_not_taken_again(engine: ClickHouse, partition: int) -> None:
    one = sink(engine)
    one.resume(partition)
    for number in (0, 1, 0, 1, 2):
        one.add(record(partition, number))
    one.flush(all=True)
    one.add(record(partition, 2))
    one.flush(all=True)
    assert counts(engine, partition) == (30, 30, 30)


@pytest.mark.parametrize("losing", [1, 2, 3])
def test_answers_that_are_lost_double_nothing(
    engine: ClickHouse, partition: int, losing: int
) -> None:
    line = Flaky(engine)
    one = sink(line)
    one.resume(partition)
    one.add(record(partition, 0))
    line.losing = losing
    for _ in range(losing):
        with pytest.raises(ClickHouseUnavailable):
            one.flush(all=True)
        one.add(record(partition, 1))
    assert one.flush(all=True)[partition] == APART + 1
    assert counts(engine, partition) == (20, 20, 20)


def decided(engine: ClickHouse, partition: int) -> list[tuple[int, int, int]]:
    """Batches: first, last, rows."""
    found = engine.rows(
        "SELECT DISTINCT first, last, rows FROM chimera.sink_batches"
        " WHERE sink = 'inference_log' AND partition = {partition:UInt32} AND token != ''"
        " ORDER BY first",
        {"partition": partition},
    )
    return [(first, last, rows) for first, last, rows in found]


def test_restart_goes_on_after_the_tables_last_row(engine: ClickHouse, partition: int) -> None:
    """Whatever the group has committed: that may have been for another ClickHouse."""
    one = sink(engine)
    assert one.resume(partition, floor=7) == 0
    one.add(record(partition, 4))
    one.flush(all=True)
    assert sink(engine).resume(partition) == 9
    assert sink(engine).resume(partition, floor=12) == 9


def test_rows_that_a_retention_removed_are_not_filled_again(
    engine: ClickHouse, partition: int
) -> None:
    one = sink(engine)
    one.resume(partition)
    one.add(record(partition, 4), record(partition, 5))
    one.flush(all=True)
    keep(engine, 1)  # they are of a year that has passed
    try:
        engine.command(f"OPTIMIZE TABLE {TABLE} FINAL")
        assert counts(engine, partition) == (0, 0, 0)
        assert sink(engine).resume(partition, floor=11) == 11
        assert sink(engine).resume(partition, floor=11) == 11
    finally:
        keep(engine, None)


def keep(engine: ClickHouse, days: int | None) -> None:
    retention.keep(engine, {"inference_log": days})


def test_rows_that_are_gone_stop_the_sink(engine: ClickHouse, partition: int) -> None:
    one = sink(engine, rows=SIZE)
    one.resume(partition)
    one.add(record(partition, 0), record(partition, 1), record(partition, 2))
    engine.command(f"DELETE FROM {TABLE} WHERE journal_partition = {partition} AND offset >= 10")
    with pytest.raises(HistoryConflict, match="end before offset 1, and those before 3 had been"):
        sink(engine).resume(partition, floor=5)


def test_topic_that_was_made_anew_stops_the_sink(engine: ClickHouse, partition: int) -> None:
    one = sink(engine)
    one.resume(partition, 0, "old")
    one.add(record(partition, 0))
    one.flush(all=True)
    assert sink(engine).resume(partition, 1, "old") == 1
    with pytest.raises(HistoryConflict, match=r"another topic \(old\).* anew \(new\); rename"):
        sink(engine).resume(partition, 0, "new")


def test_whoever_lost_the_right_inserts_nothing(engine: ClickHouse, partition: int) -> None:
    """It had written down what it would insert; its successor had not seen that, and goes its way."""

    def lost() -> None:
        raise KafkaUnavailable("fenced")

    old = sink(engine)
    old.resume(partition)
    old.add(record(partition, 0), record(partition, 1))
    new = sink(engine, rows=SIZE)
    new.resume(partition)
    old.hold = lost
    with pytest.raises(KafkaUnavailable):
        old.flush(all=True)
    assert counts(engine, partition) == (0, 0, 0)
    new.add(record(partition, 0))
    assert sink(engine).resume(partition) == 1
    third = sink(engine)
    third.resume(partition)
    third.add(record(partition, 0), record(partition, 1), record(partition, 2))
    third.flush(all=True)
    assert counts(engine, partition) == (30, 30, 30)


def test_decided_batch_is_repeated_exactly_though_limits_have_changed(
    engine: ClickHouse, partition: int
) -> None:
    class Stop(Exception):
        pass

    def stop(step: str) -> None:
        if step == "after_decide":
            raise Stop

    one = Sink(engine, inference_log.LOG, Limits(), stop)
    one.resume(partition)
    for number in range(3):
        one.add(record(partition, number))
    with pytest.raises(Stop):
        one.flush(all=True)
    again = sink(engine, rows=1, seconds=0)
    assert again.resume(partition) == 0
    again.add(record(partition, 0))
    again.flush(all=True)
    assert counts(engine, partition)[0] == 0  # it waits for what was decided
    for number in range(1, 4):
        again.add(record(partition, number))
    assert decided(engine, partition) == [(0, 4, 30), (6, 6, 10)]
    assert counts(engine, partition) == (40, 40, 40)


def test_decided_batch_that_cannot_be_repeated_stops_the_sink(
    engine: ClickHouse, partition: int
) -> None:
    engine.command(
        "INSERT INTO chimera.sink_batches (sink, partition, first, last, rows, token)"
        f" VALUES ('inference_log', {partition}, 4, 9, 1, 't')"
    )
    one = sink(engine)
    one.resume(partition)
    with pytest.raises(HistoryConflict, match="offset 9"):
        one.add(record(partition, 6))


def test_record_that_is_no_segment_stops_the_sink(engine: ClickHouse, partition: int) -> None:
    one = sink(engine)
    one.resume(partition)
    broken = record(partition, 0)._replace(value=b"no segment")
    with pytest.raises(Malformed):
        one.add(broken)
    with pytest.raises(Malformed):
        one.ahead([record(partition, 0), broken])


def test_rows_made_ahead_are_those_that_are_made_in_time(
    engine: ClickHouse, partition: int
) -> None:
    one = sink(engine, rows=30)
    one.resume(partition)
    records = [record(partition, number) for number in range(6)]
    with ThreadPoolExecutor(1) as other:
        ahead = other.submit(one.ahead, records[3:]).result()
        one.add(*records[:3])
        one.add(*ahead)
    one.flush(all=True)
    assert [each.made is not None for each in ahead] == [True] * 3
    assert counts(engine, partition) == (60, 60, 60)
    columns = ", ".join(name for name, _ in inference_log.COLUMNS if name not in PLACES)
    halves = [
        engine.rows(
            f"SELECT {columns} FROM {TABLE} WHERE journal_partition = {{partition:UInt32}}"
            f" AND offset BETWEEN {start} AND {start + 29} ORDER BY offset",
            {"partition": partition},
        )
        for start in (0, 30)
    ]
    assert len(halves[0]) == 30
    assert halves[0] == halves[1]
