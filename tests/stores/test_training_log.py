"""Events of training as rows of the real engine, whatever kinds there will be."""

from chimera.stores import training_log
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.sink import Sink
from tests.stores.training_records import AT_MS, VALUES, training_record


def test_each_event_is_a_row_with_its_body(engine: ClickHouse, partition: int) -> None:
    sink = Sink(engine, training_log.LOG)
    sink.resume(partition)
    for number in range(len(VALUES)):
        sink.add(training_record(partition, number))
    sink.flush(all=True)
    rows = engine.rows(
        "SELECT event, run_id, tenant, model, source, step, loss, toUnixTimestamp64Milli(at), hex(body),"
        " error != '' FROM chimera.training_log WHERE events_partition = {partition:UInt32}"
        " ORDER BY events_offset",
        {"partition": partition},
    )
    assert [bytes.fromhex(row[8]) for row in rows] == VALUES
    assert [tuple(row[:8]) for row in rows] == [
        ("queued", "run-1", "acme", "digits", "agent:1", 0, None, AT_MS + 1),
        ("progress", "run-1", "acme", "digits", "agent:1", 40, 0.25, AT_MS + 2),
        ("finished", "run-1", "acme", "digits", "agent:1", 0, None, AT_MS + 3),
        ("", "", "", "", "", 0, None, AT_MS),
        ("unreadable", "", "", "", "", 0, None, AT_MS),
        ("unreadable", "", "", "", "", 0, None, AT_MS),
    ]
    assert [row[9] for row in rows] == [0, 0, 0, 0, 1, 1]
