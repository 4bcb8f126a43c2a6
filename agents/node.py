"""A node: one Faust app, its lanes, its executors, and what they share.

    start ── client, features ── executors ── Faust ── partitions assigned ── lanes open
    stop  ── Faust (partitions revoked: lanes finish) ── executors ── client

Whatever cannot be decided ends the process with status 70, and a supervisor starts it again: a
node holds nothing that Kafka does not have.
`tests/integration/test_node.py` runs it; the campaigns kill it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportPrivateUsage=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import os
import time
from collections.abc import Collection
from typing import Any

import structlog
from aiokafka.client import AIOKafkaClient
from faust.types import TP

from chimera.agents import inference
from chimera.agents.app import new_app
from chimera.agents.following.following import Following
from chimera.agents.following.model_news import ModelNews
from chimera.agents.following.refusals import Refusals
from chimera.agents.journaling.journals import Journals
from chimera.agents.lanes import failpoints
from chimera.agents.lanes.assigned import Assigned
from chimera.agents.lanes.attempts import Attempts
from chimera.agents.lanes.commit_loop import CommitLoop, Halted
from chimera.agents.lanes.committers import Partition
from chimera.agents.lanes.committing import Committing
from chimera.agents.lanes.fetched import Run
from chimera.agents.lanes.halts import Halts
from chimera.agents.lanes.lane import Lane
from chimera.agents.lanes.opening import Opening
from chimera.agents.lanes.outcomes import Composer
from chimera.agents.lanes.partners import Partners, needed
from chimera.agents.lanes.stages import Stages
from chimera.agents.metrics import Metrics
from chimera.agents.seat import Seat, leave_for
from chimera.agents.shared import Shared
from chimera.schemas.errors import KafkaUnavailable
from chimera.schemas.settings import Settings
from chimera.schemas.work import BatchStory, Block, Deferred, Outcomes, Results
from chimera.topics import clients, connections, stranded
from chimera.topics.admin import topic_ids
from chimera.topics.catalogue import catalogue
from chimera.topics.transactions import require_features
from chimera.workers.births import Births
from chimera.workers.pool import Pool
from chimera.workers.reports import Report

log = structlog.get_logger(__name__)

TICK_S = 0.02
LEARN_AGAIN_S = 0.1
MEASURE_S = 1.0
OPENING_WAIT_MS = 20  # a fetch of an empty partition; questions about offsets queue behind it
FOLLOWING_WAIT_MS = 200  # the same while following: fifty fetches a second for ever are too many
EX_SOFTWARE = 70


class Node:
    """Everything in one process but the executors; `start`, wait for `ended`, `stop`."""

    def __init__(self, settings: Settings, bootstrap: str, births: Births | None = None) -> None:
        """`births`: executors that were started already."""
        self.settings = settings
        self.metrics = Metrics()
        self.catalogue = catalogue(settings)
        self.ended = asyncio.Event()
        self._arguments = clients.arguments(settings.kafka, bootstrap, "chimera-node")
        self._consumer_arguments = {
            **clients.consumer_arguments(settings.kafka, bootstrap, "chimera-node-opening"),
            "fetch_max_wait_ms": OPENING_WAIT_MS,
        }
        self._client = AIOKafkaClient(**self._arguments)
        self._attempts = Attempts(self.catalogue.attempts.name, self._arguments)
        self._halts = Halts(settings, bootstrap)
        self._stages = Stages(self.metrics.lanes, failpoints.from_environment())
        self.pool = Pool(settings, self, births=births)
        self.metrics.models.budget_bytes.set(settings.serving.model_memory_bytes or 0)
        self._following = self._new_following() if settings.serving.follow else None
        self._news = ModelNews(
            self.catalogue, self._arguments, self.metrics.models, self._following
        )
        self.app = new_app(settings, bootstrap)
        self._inputs = [self.catalogue.requests, *self.catalogue.retries]
        inference.listen(self.app, [topic.name for topic in self._inputs], self._take)
        self.app.on_partitions_assigned.connect(self._on_assigned)  # type: ignore[arg-type]  # its parameter `signal` has no name here
        self.app.on_partitions_revoked.connect(self._on_revoked)  # type: ignore[arg-type]  # the same
        self._committing = Committing(
            self._client, settings, self._stages, lambda noted: self._consumer.commit_offsets(noted)
        )
        self._shared = Shared(
            settings,
            self.catalogue,
            self.pool,
            self,
            self.metrics.lanes,
            self._stages.visit,
            Journals(settings, self.catalogue).new if settings.journal.enabled else None,
        )
        self._seat = Seat(settings.stack.dir / "members", settings.kafka.group)
        self._lanes = Assigned(self._shared, self._new_loop, self._spawn, self.fatal)
        self._tasks: set[asyncio.Task[Any]] = set()

    # Life.

    async def start(self) -> None:
        """Returns when executors are warm and Faust has started; lanes open as they are assigned.

        Raises:
            KafkaUnavailable: no broker, or one without the features that the guarantee needs.
        """
        connections.install()
        await self._client.bootstrap()
        self._client.set_topics([topic.name for topic in self.catalogue])
        if self.settings.serving.guarantee == "exactly_once":
            await require_features(self._client)
        await leave_for(self._client, self.settings.kafka.group, self._seat.take())
        orders = await self._following.start() if self._following is not None else None
        await asyncio.gather(self._learn_topics(), self._attempts.start(), self.pool.start(orders))
        if self._following is not None:
            self._spawn(self._following.run(self.pool, self._news.take_refusal))
        self._spawn(self._news.run())
        self._consumer.on_recreated(self._lanes.halt)
        self._consumer.on_cut(self._lanes.halt_cut)
        self._spawn(self._tick())
        self._spawn(self._warn_of_stranded())
        await self.app.start()
        self._spawn(self._watch_app())

    async def stop(self) -> None:
        await self._on_revoked(self.app, self._lanes.partitions)
        await self.app.stop()
        self._seat.leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pool.stop()
        await self._attempts.stop()
        if self._following is not None:
            await self._following.stop()
        await self._client.close()

    def _new_following(self) -> Following:
        from chimera.stores import keys  # cryptography and fsspec: for nodes that need them
        from chimera.stores.artifacts import Artifacts
        from chimera.stores.layout import Layout

        artifacts = self.settings.artifacts
        store = Artifacts(artifacts.url, artifacts.cache_dir)
        layout = Layout(store, keys.trusted(self.settings.keys), artifacts.cache_dir / "placed")
        return Following(
            self.catalogue.model_state.name,
            {**self._consumer_arguments, "fetch_max_wait_ms": FOLLOWING_WAIT_MS},
            layout,
            Refusals(self.settings.serving.refused_again_ms / 1000),
            self.metrics.models.serve,
        )

    def fatal(self, reason: str) -> None:
        """End the process at once: what is not decided will be, by whoever comes next."""
        log.error("node_fatal", reason=reason)
        os._exit(EX_SOFTWARE)

    def _spawn(self, work: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_failed", exc_info=error)
            self.fatal(f"{task.get_name()}: {error!r}")

    async def _watch_app(self) -> None:
        await self.app.wait_until_stopped()
        self.ended.set()

    async def _warn_of_stranded(self) -> None:
        group = self.settings.kafka.group
        await stranded.warn(self._client, self.catalogue, group, self._consumer_arguments)

    async def _tick(self) -> None:
        measured_s = 0.0
        while True:
            await asyncio.sleep(TICK_S)
            now_s, now_ms = time.monotonic(), time.time_ns() // 1_000_000
            self._seat.note(self._consumer.member_id)
            self._lanes.tick(now_s, now_ms)
            await self._committing.settle()
            if now_s - measured_s >= MEASURE_S:
                measured_s = now_s
                self._measure()

    def _measure(self) -> None:
        """Gauges that nothing else sets."""
        self._news.measure(self.pool.executors, self.pool.paused)
        self.metrics.shadows.show_off(self.pool.dropped_shadows)
        self._lanes.measure(self._consumer.end_of)
        self.metrics.models.hold(self.pool.executors, self.pool.holdings.take_evicted())

    # Lanes.

    @property
    def _consumer(self) -> Any:
        """The transport's, which Faust types as any consumer."""
        return self.app.consumer

    async def _learn_topics(self, needed: Collection[str] = ()) -> None:
        """Ids of the input topics; one that has lanes keeps the id by which they read it.

        A broker that has just started may not know all `needed` ones: then another is asked.
        """
        names = [topic.name for topic in self._inputs]
        while True:
            try:
                found = await topic_ids(self._client, names)
            except KafkaUnavailable as error:
                if not needed:
                    raise
                log.warning("topic_ids_not_known", reason=str(error))
                found = {}
            if all(name in found for name in needed if name in names):
                break
            await asyncio.sleep(LEARN_AGAIN_S)
        known: dict[str, str] = self._consumer.topic_ids
        in_use = {tp.topic for tp in self._lanes.partitions}
        for name, identity in found.items():
            if name not in in_use:
                known[name] = identity
            elif known.get(name) != identity:
                self._lanes.halt(name)

    async def _on_assigned(self, _app: Any, *assigned: Any, **_: Any) -> None:
        """Faust passes the set of partitions."""
        await self._learn_topics({tp.topic for tp in assigned[0]})
        names = {topic.name for topic in self._inputs}
        for tp in assigned[0]:
            if tp.topic in names and tp not in self._lanes:
                self._lanes.begin(tp)

    def _new_loop(self, lane: Lane) -> CommitLoop:
        topic, partition = lane.topic, lane.partition
        where = Partition(topic, partition, self._consumer.topic_ids.get(topic, ""))
        opening = Opening(
            topic,
            partition,
            where.topic_id,
            self.catalogue,
            self._attempts,
            Partners(self._client, needed(self.catalogue, self.settings), partition),
            self._consumer_arguments,
        )
        return CommitLoop(
            lane,
            opening,
            lambda: self._committing.new(where),
            Composer(self.catalogue, partition, self.settings.commit.compression),
            settings=self.settings,
            metrics=self.metrics.lanes,
            fatal=self.fatal,
            forget_deaths=lambda offsets: self._forget_deaths(lane, offsets),
            take_errors=self._news.take_errors,
            take_halt=lambda halted: self._take_halt(lane, halted),
        )

    def _take_halt(self, lane: Lane, halted: Halted) -> None:
        self._spawn(self._halts.tell(lane.topic, lane.partition, halted))

    async def _on_revoked(self, _app: Any, *revoked: Any, **_: Any) -> None:
        """Lanes finish what is decided; Faust passes the set of partitions."""
        await self._lanes.leave(revoked[0], self.settings.serving.revoke_within_ms / 1000)

    def _take(self, run: Run) -> None:
        if self._lanes.take(run):
            self.metrics.requests.labels(run.topic).inc(run.count)

    # What executors say.

    def take_outcomes(self, outcomes: Outcomes) -> None:
        if self._lanes.answer(outcomes):
            self._count_batch(outcomes.batch)

    def take_results(self, results: Results) -> None:
        if self._lanes.answer_block(results):
            for story in results.stories:
                self._count_batch(story)

    def take_unread(self, block: Block, accused: Collection[int]) -> None:
        self._lanes.unread(block, accused)

    def _count_batch(self, story: BatchStory) -> None:
        """Each batch once, though every lane in it is told of it; size 0: no model saw it."""
        if story.is_first and story.size:
            labels = (story.model, story.version, story.tier)
            self.metrics.batch_size.labels(*labels).observe(story.size)
            self.metrics.compute_seconds.labels(*labels).observe(story.compute_us / 1e6)
            self.metrics.queue_seconds.observe(story.queue_us / 1e6)

    def take_death(self, reason: str) -> None:
        self.metrics.executor_restarts.labels(reason).inc()

    def take_deferred(self, deferred: Deferred) -> None:
        self._news.take_deferred(deferred)
        self._lanes.defer(deferred)

    def take_report(self, report: Report) -> None:
        self._news.take_report(report)
        self.metrics.shadows.take(report.shadows)

    def take_suspects(self, lane: int, offsets: list[int], reason: str) -> None:
        found = self._lanes.accused(lane)
        if found is not None:
            self._spawn(self._write_deaths(found, found.suspect(offsets, reason), reason))

    async def _write_deaths(self, lane: Lane, deaths: dict[int, int], reason: str) -> None:
        await self._attempts.record(lane.topic, lane.partition, deaths, reason)
        lane.settle_suspects(deaths, reason)

    def _forget_deaths(self, lane: Lane, offsets: list[int]) -> None:
        self._spawn(self._attempts.forget(lane.topic, lane.partition, offsets))

    # What lanes may do to the consumer.

    def pause(self, topic: str, partition: int) -> None:
        self.app.consumer.on_buffer_full(TP(topic, partition))

    def resume(self, topic: str, partition: int) -> None:
        self.app.consumer.on_buffer_drop(TP(topic, partition))

    def seek(self, topic: str, partition: int, offset: int) -> None:
        log.warning("lane_seeks_back", topic=topic, partition=partition, offset=offset)
        self._consumer.seek_to(topic, partition, offset)

    def end(self, topic: str, partition: int) -> int | None:
        found: int | None = self._consumer.end_of(TP(topic, partition))
        return found
