"""Faust's transport, made for lanes: one fetched run of a partition arrives as one event.

    broker ── fetch (paced) ── run of records ── conductor ── agent ── Lane.put

What differs from Faust's own driver, each for a measured reason:
- the consumer lives on the node's loop, not in a thread: no hop, no second loop to wake;
- it reads committed records only, and small fetches are spaced so that runs arrive together;
- a run names the position that it continues from, so a lane notices whatever was skipped;
- what was fetched is not parsed here (`fetching.py`, `fetched.py`): most records are never read by
  a node at all.
Faust finds it by the entry point `faust.transports: chimera`. aiokafka's fetcher has no public way
to hand out runs; the private names used here are pinned by `aiokafka<0.15` and
`tests/integration/test_transport.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportPrivateUsage=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleVariableOverride=false, reportUntypedBaseClass=false
# (aiokafka ships no type information; Faust declares class attributes that drivers replace)

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import aiokafka
import structlog
from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import CommitFailedError, ConsumerStoppedError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service
from mode.utils.futures import maybe_async
from mode.utils.locks import Event

from chimera.agents.fetching import Fetching, Waiting
from chimera.agents.lanes.fetched import Run
from chimera.schemas.settings import Settings
from chimera.topics import clients

log = structlog.get_logger(__name__)

PREFETCH_BACKOFF_S = 0.01  # longer: a paused lane holds up the others; 0: an idle one holds it up
FETCH_WAIT_MS = 50  # longer: a lane that resumes waits for a fetch of idle ones to return
METADATA_CHECK_S = 0.5  # while a topic is unknown, so often
BRIEF_WAIT_MS = (
    2  # while others have records in hand, empty partitions must not hold the connection
)
REASSIGNMENT_S = 0.02  # between looks while the group rebalances; its own task needs the loop
BUSY_RECORDS = 256  # a fetch that brought this many is followed by the next at once


class LoopConsumer(driver.AIOKafkaConsumerThread):
    """Faust's consumer "thread" as a plain service on the loop that uses it."""

    abstract = False
    wait_for_shutdown = False  # there is no thread whose end must be waited for

    def __init__(self, consumer: "Consumer", **kwargs: Any) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(consumer, thread_loop=loop, **{**kwargs, "loop": loop})
        self._waiter: asyncio.Future[None] | None = None
        self._fetched_at = 0.0
        self._fetched_records = 0
        self.topic_ids: dict[str, str] = {}  # whoever uses this keeps them up to date
        self.on_recreated: Callable[[str], None] = _ignore
        self.on_cut: Callable[[str, int, int], None] = _ignore
        self._passed: dict[TP, tuple[int, int]] = {}  # how far was read, and after which record

    async def maybe_start(self) -> bool:
        return await Service.maybe_start(self)

    async def start(self) -> None:
        await Service.start(self)

    async def stop(self) -> None:
        await Service.stop(self)

    async def on_stop(self) -> None:
        await self.on_thread_stop()

    async def crash(self, exc: BaseException) -> None:
        await Service.crash(self, exc)

    def _stopped_set(self) -> None:
        self._stopped.set()

    def set_shutdown(self) -> None:
        self._shutdown.set()

    async def _stop_children(self) -> None:
        await self._default_stop_children()

    async def _stop_futures(self) -> None:
        await self._default_stop_futures()

    async def _stop_exit_stacks(self) -> None:
        await self._default_stop_exit_stacks()

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await maybe_async(fun(*args, **kwargs))

    async def on_start(self) -> None:
        await super().on_start()
        fetcher: Any = self._ensure_consumer()._fetcher
        fetcher._prefetch_backoff = PREFETCH_BACKOFF_S
        self._fetching = Fetching(
            fetcher,
            self.topic_ids,
            self._continues,
            lambda topic: self.on_recreated(topic),
            lambda topic, partition, end: self.on_cut(topic, partition, end),
        )
        fetcher._proc_fetch_request = self._paced_fetch
        self.add_future(self._know_topics())

    async def _know_topics(self) -> None:
        """Ask again for topics that a broker, just started, did not name when it was asked.

        Whoever assigns partitions meanwhile leaves them out, and until metadata is next due nobody
        serves them; with what this brings, the group assigns anew.
        """
        consumer = self._ensure_consumer()
        while not self.should_stop:
            await self.sleep(METADATA_CHECK_S)
            cluster = consumer._client.cluster
            if any(not cluster.partitions_for_topic(topic) for topic in consumer.subscription()):
                await consumer._client.force_metadata_update()

    def _continues(self, tp: TopicPartition, position: int) -> int:
        read_to, after_last = self._passed.get(TP(*tp), (-1, -1))
        return after_last if read_to == position else position

    async def _paced_fetch(self, assignment: Any, node: int, request: Any) -> bool:
        """Space small fetches by the linger, so that several partitions' records come at once."""
        if self._fetched_records < BUSY_RECORDS:
            linger = self._settings.fetch.linger_ms / 1000
            pause = self._fetched_at + linger - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
        self._fetched_records = 0
        fetcher: Any = self._ensure_consumer()._fetcher
        # partitions that have records in hand are not in the request, and wait for its answer
        max_wait_ms = BRIEF_WAIT_MS if fetcher._records else FETCH_WAIT_MS
        try:
            return await self._fetching.fetch(assignment, node, request, max_wait_ms)
        finally:
            self._fetched_at = time.monotonic()

    @property
    def _settings(self) -> Settings:
        settings: Settings = self.app.settings  # type: ignore[attr-defined]  # agents.app.NodeApp has it
        return settings

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        kafka, fetch = self._settings.kafka, self._settings.fetch
        self._assignor = RoundRobinPartitionAssignor
        url = transport.url[0]
        return aiokafka.AIOKafkaConsumer(
            **clients.consumer_arguments(
                kafka, ",".join(driver.server_list(transport.url, url.port)), "chimera-node"
            ),
            group_id=kafka.group,
            partition_assignment_strategy=[self._assignor],
            auto_offset_reset="earliest",
            max_poll_records=fetch.max_run_records,
            max_poll_interval_ms=fetch.max_poll_interval_ms,
            max_partition_fetch_bytes=fetch.max_bytes,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            session_timeout_ms=kafka.session_timeout_ms,
            heartbeat_interval_ms=kafka.heartbeat_interval_ms,
            rebalance_timeout_ms=kafka.session_timeout_ms,
        )

    @property
    def member_id(self) -> str:
        coordinator: Any = self._consumer._coordinator if self._consumer else None
        return coordinator.member_id if coordinator else ""

    def end_of(self, tp: TP) -> int | None:
        consumer, where = self._ensure_consumer(), TopicPartition(*tp)
        return consumer.last_stable_offset(where) if where in consumer.assignment() else None

    async def commit_offsets(self, offsets: Mapping[TP, OffsetAndMetadata]) -> None:
        consumer = self._ensure_consumer()
        ours = {
            TopicPartition(*tp): offset
            for tp, offset in offsets.items()
            if TopicPartition(*tp) in consumer.assignment()
        }
        if not ours:
            return
        try:
            await consumer.commit(ours)
        except CommitFailedError:  # a rebalance was faster: the next owner answers again
            log.info("offsets_not_committed", partitions=len(ours))

    def wake(self) -> None:
        """A partition may be read again: whoever waits for records looks at what is there."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def runs(self, active: set[TP], timeout_s: float) -> dict[TP, Run]:
        """What has been fetched for the active partitions; waits when there is nothing."""
        consumer = self._ensure_consumer()
        fetcher: Any = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError()
        coordinator: Any = consumer._coordinator
        _require_alive(fetcher._fetch_task, coordinator._coordination_task)
        with fetcher._subscriptions.fetch_context():
            if fetcher._subscriptions.reassignment_in_progress:
                await asyncio.sleep(REASSIGNMENT_S)
                return {}
            found = self._take(fetcher, active)
            if not found:
                waiter: asyncio.Future[None] = fetcher._create_fetch_waiter()
                self._waiter = waiter
                await asyncio.wait((waiter,), timeout=timeout_s)
                found = self._take(fetcher, active)
        return found

    def staying(self) -> AbstractContextManager[None]:
        """Nothing may be read for now: in here that is no reason for aiokafka to leave the group."""
        consumer: Any = self._ensure_consumer()
        found: AbstractContextManager[None] = consumer._fetcher._subscriptions.fetch_context()
        return found

    def _take(self, fetcher: Any, active: set[TP]) -> dict[TP, Run]:
        found: dict[TP, Run] = {}
        for tp in list(fetcher._records):
            if tp not in active:
                if not fetcher._subscriptions.is_assigned(tp):
                    del fetcher._records[tp]
                continue
            waiting = fetcher._records[tp]
            if not isinstance(waiting, Waiting):
                self._forget(fetcher, tp)
                waiting.check_raise()
                continue
            run = self._next_run(TP(*tp), waiting)
            if not waiting.fetched.has_more:
                self._forget(fetcher, tp)
            if run is not None:
                found[TP(*tp)] = run
                self._fetched_records += run.count
        return found

    @staticmethod
    def _forget(fetcher: Any, tp: Any) -> None:
        """The partition may be fetched again."""
        del fetcher._records[tp]
        fetcher._notify(fetcher._wait_consume_future)

    def _next_run(self, tp: TP, waiting: Waiting) -> Run | None:
        """What is read next, unless reading was told to go on somewhere else meanwhile."""
        fetched, assignment = waiting.fetched, waiting.assignment
        state = assignment.state_value(TopicPartition(*tp)) if assignment.active else None
        if state is None or not state.has_valid_position or state.position != fetched.position:
            fetched.drop()
            return None
        run = fetched.take(self._settings.fetch.max_run_records)
        state.consumed_to(fetched.position)
        self._passed[tp] = (fetched.position, fetched.continues)
        return run


def _ignore(*_: object) -> None:
    """Nobody wants to know."""


def _require_alive(*tasks: "asyncio.Task[None]") -> None:
    """aiokafka goes on without a task that has failed, and reads nothing more: we do not.

    Raises:
        Whatever ended it.
    """
    for task in tasks:
        if task.done():
            task.result()


class Consumer(driver.Consumer):
    """Faust's consumer over `LoopConsumer`: runs instead of records, no sleep when all are paused."""

    _thread: LoopConsumer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._room = Event()

    def _new_consumer_thread(self) -> LoopConsumer:
        return LoopConsumer(self, beacon=self.beacon)

    def on_buffer_drop(self, tp: TP) -> None:
        super().on_buffer_drop(tp)
        self._room.set()
        self._thread.wake()

    def resume_partitions(self, tps: Any) -> None:
        super().resume_partitions(tps)
        self._room.set()
        self._thread.wake()

    async def getmany(
        self,
        timeout: float,  # noqa: ASYNC109  # the signature is Faust's
    ) -> AsyncIterator[tuple[TP, Any]]:
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        active = self._get_active_partitions()
        if not active:
            self._room.clear()
            with self._thread.staying():
                await self.wait(self._room, timeout=timeout)
            return
        runs = await self._thread.runs(active, timeout)
        for tp, run in runs.items():
            if not self.flow_active:  # a rebalance: it seeks back, and lanes notice what is missing
                return
            yield tp, self._to_message(tp, run)

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                async for _, message in self.getmany(timeout=1.0):
                    await self.callback(message)
                await asyncio.sleep(0)  # whatever returned at once: everybody else gets a turn
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise

    @property
    def topic_ids(self) -> dict[str, str]:
        """Ids of topics by name; a topic that is not in it is not fetched."""
        return self._thread.topic_ids

    def on_recreated(self, tell: Callable[[str], None]) -> None:
        """`tell` gets the name of each topic that turns out to have another id."""
        self._thread.on_recreated = tell

    def on_cut(self, tell: Callable[[str, int, int], None]) -> None:
        """`tell` gets each topic's partition that ends before what was read of it, and its end."""
        self._thread.on_cut = tell

    @property
    def member_id(self) -> str:
        """How the group knows this consumer; empty before it has asked to join."""
        return self._thread.member_id

    def seek_to(self, topic: str, partition: int, offset: int) -> None:
        """Continue reading at `offset`; called for a lane that noticed a hole."""
        self._thread.seek(TP(topic, partition), offset)

    def end_of(self, tp: TP) -> int | None:
        """The partition's last stable offset as the latest fetch told; None before the first."""
        return self._thread.end_of(tp)

    async def commit_offsets(self, offsets: Mapping[TP, OffsetAndMetadata]) -> None:
        """Commit as a member of the group; for lanes that promise at least once."""
        await self._thread.commit_offsets(offsets)


class Transport(driver.Transport):
    """What the URL scheme `chimera://` names."""

    Consumer: ClassVar[Any] = Consumer
