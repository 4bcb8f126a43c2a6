"""Fetch requests of our own, in the place of aiokafka's: by topic id, and nothing parsed.

aiokafka decides what is fetched when, and from whom; what is asked and what comes of the answer is
here. A topic is named by its id (KIP-516), so that one that was deleted and made anew is never read
by positions that mean other records: the broker refuses, and `recreated` is told. A log that ends
before what was read of it was cut, and is not read again from its start. What was fetched stays as it
came (`fetched.py`). `tests/integration/test_transport.py`, `test_cut_log.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportPrivateUsage=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka import errors as kafka
from aiokafka.errors import RecordTooLargeError

from chimera.agents.lanes.fetched import Fetched
from chimera.schemas import stored
from chimera.schemas.errors import KafkaUnavailable
from chimera.topics import protocol
from chimera.topics.admin import topic_ids
from chimera.topics.protocol import Uuid

log = structlog.get_logger(__name__)

OFFSET_OUT_OF_RANGE = 1
MOVED = (3, 5, 6, 9, 74, 75)  # unknown here, no leader, not the leader, no replica, another epoch
OTHER_TOPIC = (100, 103)  # no topic has that id; it is not the id of that topic
ENDS_WITHIN_MS = 10_000
SESSION_NONE = (0, -1)  # a fetch that is complete in itself


class Waiting:
    """A partition's part of a fetch, as aiokafka's fetcher keeps it until it is taken."""

    def __init__(self, fetched: Fetched, assignment: Any, backoff_s: float) -> None:
        self.fetched, self.assignment = fetched, assignment
        self._ends_s = time.monotonic() + backoff_s

    def calculate_backoff(self) -> float:
        """For how long aiokafka waits for it to be taken, before it fetches others without it."""
        return max(0.0, self._ends_s - time.monotonic())


class Fetching:
    """Stands for `Fetcher._proc_fetch_request` of one consumer."""

    def __init__(
        self,
        fetcher: Any,
        ids: dict[str, str],
        continues: Callable[[TopicPartition, int], int],
        recreated: Callable[[str], None],
        cut: Callable[[str, int, int], None],
    ) -> None:
        """`ids`: of topics by name, kept up to date by the caller; others are not fetched.

        `continues`: after which record reading goes on at a position. `recreated`: gets the name of
        a topic that has another id now; `cut`: a partition that ends before what was read of it, and
        its end.
        """
        self._fetcher = fetcher
        self._ids = ids
        self._continues = continues
        self._recreated = recreated
        self._cut = cut

    async def fetch(self, assignment: Any, node: int, request: Any, max_wait_ms: int) -> bool:
        """Ask `node` for what an aiokafka request names; whether anything came."""
        fetcher = self._fetcher
        asked: dict[tuple[str, int], int] = {}
        try:
            response = await self._ask(node, request, max_wait_ms, asked)
        except kafka.KafkaError as error:
            log.warning("fetch_failed", node=node, reason=str(error))
            response = None
        except asyncio.CancelledError:  # closed, or the assignment has changed
            return False
        if response is None:
            await asyncio.sleep(fetcher._retry_backoff)
            return False
        if not assignment.active:
            return False
        came = False
        troubled = response.error_code != 0
        if troubled:
            log.warning("fetch_refused", node=node, code=response.error_code)
        for name, answer in self._answers(response):
            partition, error_code = answer[:2]
            tp = TopicPartition(name, partition)
            state = assignment.state_value(tp)
            position = asked.get((name, partition))
            if not state.has_valid_position or state.position != position:
                continue
            if error_code:
                troubled = True
                came = await self._take_error(tp, state, error_code) or came
            else:
                came = self._take(tp, state, assignment, answer) or came
        if troubled and not came:
            await asyncio.sleep(fetcher._retry_backoff)
        return came

    async def _ask(
        self, node: int, request: Any, max_wait_ms: int, asked: dict[tuple[str, int], int]
    ) -> Any:
        """None: there is nothing to ask for."""
        fetcher = self._fetcher
        topics: list[Any] = []
        for name, partitions in request.topics:
            found = self._ids.get(name)
            if found is None:
                continue
            wanted: list[Any] = []
            for partition, offset, max_bytes in partitions:
                asked[name, partition] = offset
                wanted.append((partition, -1, offset, -1, -1, max_bytes, {}))
            topics.append((Uuid.read(found), wanted, {}))
        if not topics:
            return None
        fetch = protocol.Exact(
            protocol.FetchStruct,
            max_wait_ms,
            fetcher._fetch_min_bytes,
            fetcher._fetch_max_bytes,
            fetcher._isolation_level,
            *SESSION_NONE,
            topics,
            [],
            fetcher._client_rack or "",
        )
        return await fetcher._client.send(node, fetch)

    def _answers(self, response: Any) -> Iterator[tuple[str, Any]]:
        names = {Uuid.read(shown): name for name, shown in self._ids.items()}
        for topic_id, partitions, _ in response.topics:
            for answer in partitions:
                if topic_id in names:
                    yield names[topic_id], answer

    def _take(self, tp: TopicPartition, state: Any, assignment: Any, answer: Any) -> bool:
        fetcher = self._fetcher
        _, _, high, stable, _, aborted, _, raw, _ = answer
        state.highwater, state.lso = high, stable
        state.timestamp = int(time.time() * 1000)
        if not raw:
            return False
        if not stored.is_whole(raw):  # Kafka sends a single larger batch whole: a broken answer
            fetcher._set_error(tp, RecordTooLargeError(f"{tp}: a part of a batch"))
            return True
        position = state.position
        fetched = Fetched(
            tp.topic,
            tp.partition,
            position,
            raw,
            [(producer, first) for producer, first, _ in aborted or ()],
            self._continues(tp, position),
        )
        fetcher._records[tp] = Waiting(fetched, assignment, fetcher._prefetch_backoff)
        return True

    async def _take_error(self, tp: TopicPartition, state: Any, code: int) -> bool:
        fetcher = self._fetcher
        if code == OFFSET_OUT_OF_RANGE:
            await self._reset(tp, state)
        elif code in MOVED:
            fetcher._client.force_metadata_update()
            await self._look_at(tp.topic)
        elif code in OTHER_TOPIC:
            await self._look_at(tp.topic)
        elif code == kafka.TopicAuthorizationFailedError.errno:
            fetcher._set_error(tp, kafka.TopicAuthorizationFailedError(tp.topic))
            return True
        else:
            log.warning("fetch_refused", topic=tp.topic, partition=tp.partition, code=code)
        return False

    async def _reset(self, tp: TopicPartition, state: Any) -> None:
        """Read on from the log's start, if that has passed us; a log that ends before us was cut."""
        fetcher, position = self._fetcher, state.position
        try:
            end = (await fetcher.end_offsets([tp], ENDS_WITHIN_MS))[tp]
        except kafka.KafkaError as error:  # asked again with the next fetch
            log.warning("offset_out_of_range", topic=tp.topic, reason=str(error))
            return
        if not state.has_valid_position or state.position != position:
            return
        log.warning("offset_out_of_range", topic=tp.topic, partition=tp.partition, end=end)
        if end < position:
            self._cut(tp.topic, tp.partition, end)
        else:
            state.await_reset(fetcher._default_reset_strategy)

    async def _look_at(self, topic: str) -> None:
        """Whether the topic still has the id that it is read by; a broker may not know it yet."""
        try:
            found = await topic_ids(self._fetcher._client, [topic])
        except KafkaUnavailable as error:
            log.warning("topic_ids_not_known", topic=topic, reason=str(error))
            return
        if found.get(topic, self._ids.get(topic)) != self._ids.get(topic):
            self._recreated(topic)
