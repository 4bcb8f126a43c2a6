"""Where a log is read from: Kafka's own, or ClickHouse's table that was filled from it.

Whoever verifies, exports or proves asks for nothing more than this, and believes none of it: rows are
hashed again, and paths have to lead to a signed root. `topics/audit_log.py` is the log itself,
`stores/audit_table.py` the table. `tests/integration/test_audit_from_kafka.py`, `tests/stores/test_audit_table.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from chimera.schemas.transparency.log_records import Indexed
from chimera.schemas.transparency.row import Row


class LeafSource(Protocol):
    """A log's leaves and checkpoints."""

    def rows(self, size: int) -> Iterator[Row]:
        """Of the first `size` leaves, in order, as far as they are there."""
        ...

    def find(self, request_id: str) -> Sequence[Indexed]:
        """Leaves of requests with this name: callers may use one again."""
        ...

    def path(self, index: int, size: int) -> Sequence[bytes]:
        """The hashes that should prove a leaf in the tree of `size` (RFC 6962, 2.1.1)."""
        ...

    def checkpoints(self) -> Sequence[bytes]:
        """The signed notes, in the order of their publication."""
        ...

    def covering(self, index: int) -> Iterator[bytes]:
        """Those that should have this leaf, the first ones first."""
        ...
