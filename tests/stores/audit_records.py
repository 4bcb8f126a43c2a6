"""Records of an audit log that is always the same."""

from chimera.schemas.transparency.leaves import RequestServed, encode_leaf
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.source import Record

ORIGIN = "example.com/audit"
AT_MS = 1_767_225_600_000


def body(number: int) -> bytes:
    return encode_leaf(
        RequestServed(
            at_ms=AT_MS + number,
            tenant="acme",
            topic="inference.requests",
            partition=0,
            offset=str(number),
            request_id=f"r-{number}",
            model="digits",
            version="1",
            digest="d" * 64,
            tier="onnx-cpu",
            executor="cpu:0",
            outcome="ok",
            input=None,
            output=None,
            commitment_key=None,
            attempt=0,
            guarantee="exactly_once",
        )
    )


def leaf_record(number: int) -> Record:
    """The `number`th leaf; between transactions lie Kafka's own markers."""
    offset = number + number // 10
    headers = (("chimera-log-index", b"%d" % number),)
    return Record(0, offset, AT_MS + number, body(number), headers)


def emptied(engine: ClickHouse) -> ClickHouse:
    """There is one log, and it starts anew."""
    for table in ("audit_log", "audit_checkpoints"):
        engine.command(f"TRUNCATE TABLE chimera.{table}")
    engine.command("DELETE FROM chimera.sink_batches WHERE sink LIKE 'audit%'")
    return engine
