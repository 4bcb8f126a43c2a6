"""Requests that their lane has decided: no executor computes them, wherever they are."""

import asyncio
import os
import signal
import time
from pathlib import Path

from tests.workers import hostile_executor as hostile
from tests.workers.rig import Rig, block, request, work, write_hostile

SLEEPS = request((hostile.SLEEP, 1))
FINE = request((0, 1))


def test_withdrawn_requests_are_not_computed_and_leave_nothing_in_flight(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=1)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit(work([SLEEPS, FINE, FINE, FINE]))
            rig.pool.submit(work([FINE] * 2, start=4, isolate=True))
            rig.pool.submit(work([FINE], lane=2))
            await rig.computing(0)
            rig.pool.withdraw(1, (0, 1, 2, 4))
            await rig.answered(7)
            left_out = [at for at in range(6) if rig.code(at) == "backend_unavailable"]
            assert left_out == [1, 2, 4] and rig.code(0, lane=2) == "ok"
            computed = [at for story, offsets in rig.batches if story.size for at in offsets]
            assert sorted(computed) == [0, 0, 3, 5]
            assert rig.in_flight() == (0, 0)

    asyncio.run(scenario())


def test_withdrawn_requests_of_a_block_are_not_computed(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=1)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit_block(block([SLEEPS, *[FINE] * 9]))
            await rig.computing(0)
            rig.pool.withdraw(1, range(10))
            await rig.answered(10)
            assert {rig.code(offset) for offset in range(1, 10)} == {"backend_unavailable"}
            assert rig.in_flight() == (0, 0)

    asyncio.run(scenario())


def test_withdrawn_requests_are_not_computed_again_after_a_death(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=1)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit(work([request((hostile.HANG, 1)), FINE, FINE, FINE]))
            await rig.computing(0)
            rig.pool.withdraw(1, (1, 3))
            (report,) = rig.pool.executors
            os.kill(report.pid, signal.SIGKILL)
            await rig.answered(1)
            await rig.until(lambda: rig.in_flight() == (0, 0))
            assert rig.order == [(1, 2)] and rig.code(2) == "ok"

    asyncio.run(scenario())


def test_results_of_a_block_wait_for_each_other_only_where_the_model_is_fast(
    tmp_path: Path,
) -> None:
    write_hostile(tmp_path, "slow", max_batch_size=1)  # 50 ms each

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit_block(block([request((0, 1), "slow")] * 30))
            await rig.answered(1)
            assert len(rig.codes) < 30 and not rig.results
            await rig.answered(30)

    asyncio.run(scenario())


def test_pool_tells_when_whoever_has_requests_of_a_lane_got_on(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=1)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            assert rig.pool.got_on_s(1) == 0.0
            rig.pool.submit(work([FINE]))
            await rig.answered(1)
            assert rig.pool.got_on_s(1) == 0.0, "nobody has anything of it"
            before_s = time.monotonic()
            rig.pool.submit(work([request((hostile.HANG, 1))]))
            rig.pool.submit(work([FINE] * 2_000, lane=2))  # some of it is not given out
            await rig.computing(0)
            assert before_s < rig.pool.got_on_s(1) <= time.monotonic()
            assert rig.pool.got_on_s(1) == rig.pool.got_on_s(2)
            assert rig.pool.got_on_s(3) == 0.0

    asyncio.run(scenario())
