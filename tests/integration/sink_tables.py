"""Tables whose sinks are killed: what their topics hold, and what their rows are counted by.

`sink_killing.py` names them, and `sink_process.py` fills them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chimera.schemas.transparency import chain
from chimera.schemas.transparency.subtrees import Subtrees
from chimera.stores import audit_log, inference_log
from chimera.stores.audit_table import AuditTable
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.source import Destination, Record
from tests.integration.clickhouse_at import COUNTS
from tests.stores.audit_records import leaf_record
from tests.stores.sink_records import SIZE, record

LEAVES = "SELECT count(), uniqExact(log_index), max(log_index) + 1 FROM chimera.audit_log"


@dataclass(frozen=True, slots=True)
class Killed:
    """Of one table."""

    topic: str  # without a prefix
    destination: Callable[[], Destination]
    records: Callable[[int], Iterable[Record]]
    """That make so many rows, for a whole number of segments."""
    counts: str
    """Rows, different ones, and how many there should be."""
    require_whole: Callable[[ClickHouse], None] = lambda _: None


def _leads_on(engine: ClickHouse) -> None:
    """Each row's chain hash and subtrees follow from the rows before it, whichever life wrote them."""
    ((_, _, size),) = engine.rows(LEAVES)
    rows, tree = list(AuditTable(engine).rows(size)), Subtrees()
    assert [one.chain_hash for one in rows] == list(chain.links(one.leaf_hash for one in rows))
    kept = engine.rows("SELECT hex(subtrees) FROM chimera.audit_log ORDER BY log_index")
    ended = [b"".join(tree.append(one.leaf_hash)) for one in rows]
    assert [bytes.fromhex(found) for (found,) in kept] == ended


TABLES = {
    "inference_log": Killed(
        "inference.journal",
        lambda: inference_log.LOG,
        lambda rows: (record(0, number) for number in range(rows // SIZE)),
        COUNTS,
    ),
    "audit_log": Killed(
        "audit.log",
        audit_log.destination,
        lambda rows: map(leaf_record, range(rows)),
        LEAVES,
        _leads_on,
    ),
}
