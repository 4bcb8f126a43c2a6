"""Events of models as rows of the real engine."""

from pathlib import Path

from chimera.stores import model_log
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.sink import Sink
from chimera.stores.source import Record

GOLDEN = Path(__file__).parents[1] / "schemas" / "golden" / "model_events_v1.jsonl"
AT_MS = 1_767_225_600_000


def test_each_event_is_a_row_with_its_body(engine: ClickHouse, partition: int) -> None:
    values = [*GOLDEN.read_bytes().splitlines(), b"no event", b""]
    sink = Sink(engine, model_log.LOG)
    sink.resume(partition)
    for offset, value in enumerate(values):
        sink.add(Record(partition, offset, AT_MS, value))
    sink.flush(all=True)
    rows = engine.rows(
        "SELECT event, tenant, model, command_id, body, toUnixTimestamp64Milli(appended_at),"
        " JSONExtractString(body, 'event_id') = event_id FROM chimera.model_log"
        " WHERE events_partition = {partition:UInt32} ORDER BY events_offset",
        {"partition": partition},
    )
    assert [row[4].encode() for row in rows] == values
    assert {row[0] for row in rows[:-2]} == {
        "begun",
        "answered",
        "compiling",
        "compiled",
        "tier",
        "refused",
        "judged",
        "rolled_back",
    }
    assert all(row[1] and row[2] and row[6] for row in rows[:-2])
    assert [row[0] for row in rows[-2:]] == [model_log.UNREADABLE] * 2
    assert {row[5] for row in rows} == {AT_MS}
    assert rows[0][3] != ""
