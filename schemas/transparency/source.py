"""Where leaves are read from: Kafka's own log, or a table that was filled from it.

Whoever verifies, exports or proves asks for nothing more than this, and believes none of it: hashes
are computed again from what comes. `topics/audit_log.py` is the log itself.
`tests/integration/test_audit_from_kafka.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from chimera.schemas.transparency.log_records import Indexed


class LeafSource(Protocol):
    """A log's leaves."""

    def leaves(self, start: int, end: int) -> Iterator[Indexed]:
        """Leaves `start` to `end` - 1, in order, as far as they are there."""
        ...

    def find(self, request_id: str) -> Sequence[Indexed]:
        """Leaves of requests with this name: callers may use one again."""
        ...
