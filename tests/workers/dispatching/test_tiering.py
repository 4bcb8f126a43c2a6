"""Batches go to the first tier that its breaker admits, and on to the next when it fails them."""

# pyright: reportPrivateUsage=false
# (a pool tells nobody of tiers that ended executors)

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from chimera.schemas.errors import DeadlineExceeded, ModelFailed, RequestError
from chimera.schemas.placements import Orders, Placement, Variant
from chimera.schemas.serving_settings import DispatchSettings
from chimera.workers.dispatching.breakers import Policy as BreakerPolicy
from chimera.workers.dispatching.deadlines import NO_DEADLINES, Deadlines
from chimera.workers.dispatching.dispatch import Dispatcher, Policy
from chimera.workers.dispatching.tier_order import Measured
from chimera.workers.dispatching.tiering import Attempt, NotNow, Tier, Tiers
from chimera.workers.reports import TierTransition
from chimera.workers.results import Tails
from tests.workers import hostile_executor as hostile
from tests.workers.fakes import Plus
from tests.workers.rig import Rig, block, request, work, write_hostile

FAST, SLOW = "onnx-cpu", "torch-cpu"
POLICY = Policy(breaker=BreakerPolicy(minimum_calls=2, window_calls=4, open_us=60_000_000))


class Batches:
    """Tiers under a dispatcher; says who computed, and fails where it is told to."""

    def __init__(self) -> None:
        self.tiers = self.with_policy(POLICY.breaker)
        self.broken: set[str] = set()
        self.called: list[str] = []
        self.why: type[RequestError] | None = None

    def with_policy(self, policy: BreakerPolicy, p99_us: float = 10.0) -> Tiers:
        measured = [Measured(FAST, True, {1: p99_us}), Measured(SLOW, True, {1: 1.5 * p99_us})]
        tiers = [Tier(Plus(tier=name), Tails("m", "d" * 64, name)) for name in (FAST, SLOW)]
        dispatcher = Dispatcher("m/1", measured, replace(POLICY, breaker=policy), lambda: 0.0)
        return Tiers(tiers, dispatcher)

    def compute(self, requests: int = 8, deadlines: Deadlines = NO_DEADLINES) -> list[str]:
        """The tiers that a batch was given to, in turn."""
        self.called = []

        def attempt(tier: Tier) -> Attempt:
            self.called.append(tier.name)
            if tier.name in self.broken:
                return Attempt(requests, 0, ModelFailed("it broke"), 10)
            return Attempt(requests, requests, None, 10)

        self.why = self.tiers.compute(requests, attempt, deadlines)
        return self.called


def test_fastest_tier_computes() -> None:
    assert Batches().compute() == [FAST]


def test_batch_that_fails_as_a_whole_goes_to_the_next_tier() -> None:
    batches = Batches()
    batches.broken = {FAST}
    assert batches.compute() == [FAST, SLOW]
    assert batches.compute() == [FAST, SLOW]
    assert batches.compute() == [SLOW], "its breaker is open now"


def test_batch_that_every_tier_fails_is_given_up_after_all_of_them() -> None:
    batches = Batches()
    batches.broken = {FAST, SLOW}
    assert batches.compute() == [FAST, SLOW]


def test_batch_waits_while_no_tier_takes_a_call() -> None:
    batches = Batches()
    batches.broken = {FAST, SLOW}
    batches.compute()
    batches.compute()
    with pytest.raises(NotNow) as caught:
        batches.compute()
    assert 59_000 < caught.value.wait_ms <= 60_001
    assert batches.called == []


def test_refusal_that_another_tier_contradicts_counts_against_the_first() -> None:
    batches = Batches()
    batches.broken = {FAST}
    for _ in range(2):
        assert batches.compute(1) == [FAST, SLOW]
    assert batches.compute(1) == [SLOW]


def test_next_tier_is_not_asked_for_a_batch_that_nobody_waits_for_any_more() -> None:
    batches = Batches()
    batches.broken = {FAST}
    now_ms, now_us = time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000
    passed = Deadlines([now_ms - 1, now_ms - 2], now_ms, now_us)
    assert batches.compute(deadlines=passed) == []
    assert batches.why is DeadlineExceeded
    one_waits = Deadlines([now_ms - 1, 0], now_ms, now_us)
    assert batches.compute(deadlines=one_waits) == [FAST, SLOW]
    assert batches.why is None


def test_probe_is_left_to_requests_that_could_survive_it() -> None:
    batches = Batches()
    batches.tiers = batches.with_policy(replace(POLICY.breaker, open_us=0), p99_us=8e5)
    batches.broken = {FAST}
    for _ in range(2):
        batches.compute()
    now_ms, now_us = time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000
    soon, later = (Deadlines([now_ms + ms], now_ms, now_us) for ms in (9_000, 900_000))
    assert batches.compute(deadlines=soon) == [SLOW]
    assert batches.compute(deadlines=later) == [FAST, SLOW]


def test_without_a_dispatcher_the_only_tier_computes() -> None:
    seen: list[str] = []

    def attempt(tier: Tier) -> Attempt:
        seen.append(tier.name)
        return Attempt(1, 0, ModelFailed("no"), 1)

    Tiers([Tier(Plus(), Tails("m", "d" * 64, "test"))]).compute(1, attempt)
    assert seen == ["test"]


def placed(folder: Path, *names: str) -> Orders:
    """The hostile model in these variants, the first the fastest."""
    variants = tuple(
        Variant(name, str(folder), p99_us={1: 10.0 * (at + 1)}) for at, name in enumerate(names)
    )
    one = Placement("hostile", "1", "d" * 64, str(folder / "hostile" / "1"), variants)
    return Orders((one,), {"hostile": {"1": 1.0}})


def test_executor_answers_from_the_next_tier_and_names_it(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path, orders=placed(tmp_path, FAST, SLOW)) as rig:
            rig.pool.submit(work([request((0, 1))]))
            await rig.answered(1)
            assert rig.headers(0)["chimera-tier"] == FAST.encode()
            rig.pool.submit(work([request((hostile.FAST_FAILS, 1))] * 4, start=1))
            await rig.answered(5)
            assert {rig.headers(at)["chimera-tier"] for at in range(1, 5)} == {SLOW.encode()}
            assert [rig.number(at) for at in range(1, 5)] == [2.0] * 4
            rig.pool.submit_block(block([request((0, at)) for at in range(4)], start=5))
            await rig.until(lambda: bool(rig.results))
            assert {story.digest for story in rig.results[0].stories} == {"d" * 64}

    asyncio.run(scenario())


def test_request_that_all_tiers_fail_is_the_culprit_and_its_neighbours_are_answered(
    tmp_path: Path,
) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path, orders=placed(tmp_path, FAST, SLOW)) as rig:
            values = [request((0, 1)), request((hostile.RAISE, 1)), request((0, 3))]
            rig.pool.submit(work(values))
            await rig.answered(3)
            assert [rig.code(at) for at in range(3)] == ["ok", "model_error", "ok"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("order", "death"), [(hostile.FAST_ABORTS, "crashed"), (hostile.FAST_HANGS, "hung")]
)
def test_tier_that_ends_its_executor_is_followed_by_the_next_and_nobody_is_accused(
    tmp_path: Path, order: int, death: str
) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path, orders=placed(tmp_path, FAST, SLOW), run_timeout_ms=700) as rig:
            for start in range(0, 40, 4):
                rig.pool.submit(work([request((order, 1))] * 4, start=start))
            await rig.answered(40)
            assert {rig.code(at) for at in range(40)} == {"ok"}
            assert {rig.headers(at)["chimera-tier"] for at in range(40)} == {SLOW.encode()}
            assert (rig.suspects, rig.deaths) == ([], [death])
            await rig.until(lambda: bool(transitions(rig)))
            (opened,) = transitions(rig)
            assert (opened.tier, opened.after) == (FAST, "open")
            assert opened.reason == "it ended 1 executor"

    asyncio.run(scenario())


def test_tier_that_ended_an_executor_computes_again_after_its_probe(tmp_path: Path) -> None:
    write_hostile(tmp_path)
    dispatch = DispatchSettings(open_ms=1_000, max_open_ms=1_000)

    async def scenario() -> None:
        async with Rig(tmp_path, orders=placed(tmp_path, FAST, SLOW), dispatch=dispatch) as rig:
            rig.pool.submit(work([request((hostile.FAST_ABORTS, 1))]))
            await rig.answered(1)
            assert rig.pool._toll.tiers["hostile/1"].keys() == {FAST}
            await asyncio.sleep(1.3)  # a probe is due by then
            rig.pool.submit(work([request((0, 1))], start=1))
            await rig.until(lambda: "closed" in {one.after for one in transitions(rig)})
            assert rig.headers(1)["chimera-tier"] == FAST.encode()
            assert not rig.pool._toll.tiers["hostile/1"], "it is acquitted"
            assert rig.suspects == []

    asyncio.run(scenario())


def test_request_that_ends_executors_in_every_tier_is_accused_and_found_alone(
    tmp_path: Path,
) -> None:
    write_hostile(tmp_path, max_batch_size=8)

    async def scenario() -> None:
        async with Rig(tmp_path, orders=placed(tmp_path, FAST, SLOW)) as rig:
            values = [request((0, 1))] * 8
            values[3] = request((hostile.ABORT, 1))
            rig.pool.submit(work(values))
            await rig.until(lambda: bool(rig.suspects))
            assert rig.suspects == [(1, list(range(8)), "crashed")]
            assert rig.deaths == ["crashed"] * 2, "once in each tier"
            rig.pool.submit(work(values, isolate=True))
            await rig.until(lambda: len(rig.suspects) == 2 and len(rig.codes) == 7)
            assert rig.suspects[1] == (1, [3], "crashed"), "at once: it is alone"
            assert rig.deaths == ["crashed"] * 3

    asyncio.run(scenario())


def test_outage_of_all_tiers_waits_and_is_answered_when_it_is_over(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=2)
    switch = tmp_path / "outage"
    switch.touch()

    async def scenario() -> None:
        async with Rig(tmp_path, orders=placed(tmp_path, FAST)) as rig:
            for start in range(0, 24, 2):  # more than opens the breaker
                rig.pool.submit(work([request((hostile.OUTAGE, 1))] * 2, start=start))
            await rig.until(lambda: len(rig.codes) + len(rig.waiting()) == 24)
            waiting = rig.waiting()
            assert {rig.code(at) for at in range(24) if at not in waiting} == {"model_error"}
            assert len(waiting) == 4 and rig.in_flight() == (0, 0)
            switch.unlink()
            until_ms = max(one.until_ms for one in rig.deferred)
            await asyncio.sleep(until_ms / 1000 - time.time())
            rig.pool.submit(work([request((hostile.OUTAGE, 1))] * 4, start=min(waiting)))
            await rig.answered(24)
            assert {rig.code(at) for at in waiting} == {"ok"}

    asyncio.run(scenario())


def test_outage_at_a_few_requests_a_second_waits_too(tmp_path: Path) -> None:
    """Each in a batch of its own, and none of it a failure of the whole batch's."""
    write_hostile(tmp_path, max_batch_size=1)
    switch = tmp_path / "outage"
    switch.touch()

    async def scenario() -> None:
        async with Rig(tmp_path, orders=placed(tmp_path, FAST)) as rig:
            rig.pool.submit(work([request((hostile.OUTAGE, 1))] * 24))
            await rig.until(lambda: len(rig.codes) + len(rig.waiting()) == 24)
            assert rig.waiting() == set(range(10, 24)), "ten requests in a row, and no more"
            switch.unlink()
            until_ms = max(one.until_ms for one in rig.deferred)
            await asyncio.sleep(until_ms / 1000 - time.time())
            rig.pool.submit(work([request((hostile.OUTAGE, 1))] * 14, start=10))
            await rig.answered(24)
            assert {rig.code(at) for at in range(10, 24)} == {"ok"}

    asyncio.run(scenario())


def test_one_request_that_fails_again_and_again_is_no_outage(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path, orders=placed(tmp_path, FAST)) as rig:
            for _ in range(30):  # as a lane tries it again
                rig.pool.submit(work([request((hostile.RAISE, 1))]))
                await rig.answered(1)
                rig.codes.clear()
            assert rig.deferred == []

    asyncio.run(scenario())


def test_executor_reports_what_became_of_its_breakers(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=2)
    switch = tmp_path / "outage"
    switch.touch()

    async def scenario() -> None:
        async with Rig(tmp_path, orders=placed(tmp_path, FAST)) as rig:
            for start in range(0, 20, 2):
                rig.pool.submit(work([request((hostile.OUTAGE, 1))] * 2, start=start))
            await rig.until(lambda: bool(transitions(rig)))
            (opened,) = transitions(rig)
            assert (opened.model, opened.version, opened.tier) == ("hostile", "1", FAST)
            assert (opened.before, opened.after) == ("closed", "open")
            assert opened.reason == "10 of 10 calls failed"
            assert abs(opened.at_ms - time.time() * 1_000) < 60_000
            (executor,) = rig.pool.executors
            assert {one.pid for one in rig.reports} == {executor.pid}
            switch.unlink()
            rig.pool.submit(work([request((hostile.OUTAGE, 1))] * 2, start=20))
            # it waits for a probe, unless one is due by then
            await rig.until(lambda: rig.waiting() == {20, 21} or len(transitions(rig)) == 3)
            if rig.deferred:
                await asyncio.sleep(max(0, rig.deferred[0].until_ms / 1000 - time.time()))
                rig.pool.submit(work([request((hostile.OUTAGE, 1))] * 2, start=22))
            await rig.until(lambda: len(transitions(rig)) == 3)
            assert [one.after for one in transitions(rig)] == ["open", "half_open", "closed"]

    asyncio.run(scenario())


def transitions(rig: Rig) -> list[TierTransition]:
    return [one for report in rig.reports for one in report.transitions]
