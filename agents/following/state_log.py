"""`models.state` as a node reads it: what it says by now, then each change as it comes.

No group is joined and no offset committed: the topic is compacted, so from its start to its end it
holds one record a model. A record that cannot be read is logged and passed over. Of tenants only
`default` is served by now. `tests/integration/test_following.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from chimera.schemas.errors import RequestError
from chimera.schemas.model_names import DEFAULT_TENANT, read_key
from chimera.schemas.model_state import ModelState, decode_state

log = structlog.get_logger(__name__)

POLL_MS = 200

Change = tuple[str, ModelState | None]
"""A model, and its state; None: it is gone."""


class StateLog:
    """Of one node; `start`, then `read` again and again, then `stop`."""

    def __init__(self, topic: str, client_arguments: Mapping[str, Any]) -> None:
        self._consumer = AIOKafkaConsumer(topic, **client_arguments, auto_offset_reset="earliest")

    async def start(self) -> list[Change]:
        """All that the topic says."""
        await self._consumer.start()
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        found: list[Change] = []
        while any([await self._consumer.position(part) < end for part, end in ends.items()]):
            found += await self.read()
        return found

    async def read(self) -> list[Change]:
        """What is new, if it comes within `POLL_MS`."""
        fetched = await self._consumer.getmany(timeout_ms=POLL_MS)
        return [
            change for records in fetched.values() for one in records for change in _changes(one)
        ]

    async def stop(self) -> None:
        await self._consumer.stop()


def _changes(record: "ConsumerRecord[bytes, bytes]") -> Iterator[Change]:
    """One, or none."""
    try:
        tenant, model = read_key(record.key)
        state = None if record.value is None else decode_state(record.value)
    except RequestError as error:
        log.error("model_state_not_read", offset=record.offset, reason=str(error))
        return
    if tenant == DEFAULT_TENANT:
        yield model, state
