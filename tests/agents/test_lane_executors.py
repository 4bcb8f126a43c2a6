"""A lane over real executors, no broker: slow ones answer everything, those that stand end nothing else."""

import asyncio
import time
from collections.abc import Collection
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry

from chimera.agents.lanes.fetched import Run
from chimera.agents.lanes.lane import Lane
from chimera.agents.lanes.lane_metrics import LaneMetrics
from chimera.agents.lanes.outcomes import Error
from chimera.agents.shared import Shared
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.settings import Settings
from chimera.schemas.work import Block, Deferred, Outcomes, Results
from chimera.topics.catalogue import catalogue
from chimera.workers.pool import Pool
from chimera.workers.reports import Report
from tests.agents.lanes import SERIAL, Flow, Kafka
from tests.workers import hostile_executor as hostile
from tests.workers.rig import HOSTILE, request, write_hostile

DECIDE_WITHIN_MS = 2_500
TICK_S = 0.02
WITHIN_S = 120.0


class Served:
    """A lane and a pool of one hostile executor. `async with Served(...)`: it ticks."""

    def __init__(self, models_dir: Path) -> None:
        serving = ServingSettings(
            models_dir=models_dir,
            devices=("cpu",),
            decide_within_ms=DECIDE_WITHIN_MS,
            run_timeout_ms=1_000 * int(WITHIN_S),  # nobody else ends what hangs
        )
        settings = Settings(serving=serving)
        self.pool = Pool(settings, self, entry=HOSTILE)
        metrics = LaneMetrics(CollectorRegistry())
        shared = Shared(settings, catalogue(settings), self.pool, Flow(), metrics, lambda _: None)
        self.lane = Lane(shared, "inference.requests", 0, SERIAL)

    async def __aenter__(self) -> Self:
        await self.pool.start()
        self.lane.open(0, {})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.stop()

    def take_outcomes(self, outcomes: Outcomes) -> None:
        self.lane.answer(outcomes)

    def take_results(self, results: Results) -> None:
        self.lane.answer_block(results)

    def take_unread(self, block: Block, accused: Collection[int]) -> None:
        self.lane.unread(block, accused)

    def take_deferred(self, deferred: Deferred) -> None:
        self.lane.defer(deferred)

    def take_suspects(self, lane: int, offsets: list[int], reason: str) -> None:
        self.lane.settle_suspects(self.lane.suspect(offsets, reason), reason)

    def take_death(self, reason: str) -> None: ...
    def take_report(self, report: Report) -> None: ...

    async def codes(self, *values: bytes) -> list[str]:
        """What becomes of these requests, once all of them are decided."""
        start = self.lane.position
        assert start is not None
        records = [Kafka(start + at, value) for at, value in enumerate(values)]
        self.lane.put(Run(self.lane.topic, 0, start, records=records))
        async with asyncio.timeout(WITHIN_S):
            while len(prefix := self.lane.prefix(1 << 20)) < len(values):
                await asyncio.sleep(TICK_S)
                self.lane.tick(time.monotonic(), time.time_ns() // 1_000_000)
        self.lane.committed(prefix, time.monotonic())
        return [outcome.code if isinstance(outcome, Error) else "ok" for _, outcome in prefix]


def test_lane_answers_all_that_a_slow_model_takes_and_ends_what_hangs(tmp_path: Path) -> None:
    write_hostile(tmp_path, "slow", max_batch_size=1)  # 50 ms each
    write_hostile(tmp_path, max_batch_size=1)
    slow, fine = request((0, 1), "slow"), request((0, 1))

    async def scenario() -> None:
        async with Served(tmp_path) as served:
            began_s = time.monotonic()
            assert await served.codes(*[slow] * 100) == ["ok"] * 100
            assert time.monotonic() - began_s > DECIDE_WITHIN_MS / 1000
            hangs = request((hostile.HANG, 1))
            assert await served.codes(fine, hangs, fine) == ["ok", *["backend_unavailable"] * 2]

    asyncio.run(scenario())
