"""Executors that crash, hang, or run out of memory: the culprit is found, all others are served."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.workers import hostile_executor as hostile
from tests.workers.rig import HOSTILE, Rig, request, work, write_hostile

FINE = request((0, 1))


def pid_of(rig: Rig) -> int:
    (report,) = rig.pool.executors
    return report.pid


def test_idle_executor_killed_is_replaced_without_suspects(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit(work([FINE]))
            await rig.answered(1)
            pid = pid_of(rig)
            os.kill(pid, signal.SIGKILL)
            rig.pool.submit(work([FINE], start=1))
            await rig.answered(2)
            assert pid_of(rig) != pid
            assert rig.suspects == []
            assert rig.deaths == ["crashed"]

    asyncio.run(scenario())


def test_killed_while_computing_names_the_batch_and_computes_the_rest_again(
    tmp_path: Path,
) -> None:
    write_hostile(tmp_path, max_batch_size=2)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit(work([request((hostile.SLEEP, 1))] * 2 + [FINE] * 5))
            await rig.computing(0, 1)
            os.kill(pid_of(rig), signal.SIGKILL)
            await rig.answered(5)
            assert rig.suspects == [(1, [0, 1], "crashed")]
            assert sorted(offset for _, offset in rig.codes) == [2, 3, 4, 5, 6]

    asyncio.run(scenario())


def test_work_of_a_dead_executor_is_computed_in_its_order(tmp_path: Path) -> None:
    write_hostile(tmp_path, "slow", max_batch_size=1)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            for start in range(0, 12, 3):
                rig.pool.submit(work([request((0, 1), "slow")] * 3, start=start))
            await rig.answered(1)
            os.kill(pid_of(rig), signal.SIGKILL)
            await rig.until(lambda: len(rig.codes) + sum(len(o) for _, o, _ in rig.suspects) == 12)
            assert rig.order == sorted(rig.order)

    asyncio.run(scenario())


def test_killer_in_a_batch_is_found_by_isolation(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=8)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            values = [FINE] * 20
            values[3] = request((hostile.ABORT, 1))
            rig.pool.submit(work(values))
            await rig.until(lambda: bool(rig.suspects) and len(rig.codes) == 12)
            assert rig.suspects == [(1, list(range(8)), "crashed")]
            rig.pool.submit(work(values[:8], isolate=True))
            await rig.until(lambda: len(rig.suspects) == 2 and len(rig.codes) == 19)
            assert rig.suspects[1] == (1, [3], "crashed")
            assert sorted(offset for _, offset in rig.codes) == [*range(3), *range(4, 20)]

    asyncio.run(scenario())


def test_killer_of_the_decoder_is_found_by_isolation(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            values = [FINE, b"die-decoding", FINE]
            rig.pool.submit(work(values))
            await rig.until(lambda: len(rig.suspects) == 1)
            assert rig.suspects[0] == (1, [0, 1, 2], "crashed")
            rig.pool.submit(work(values, isolate=True))
            await rig.until(lambda: len(rig.suspects) == 2 and len(rig.codes) == 2)
            assert rig.suspects[1] == (1, [1], "crashed")
            assert [rig.code(0), rig.code(2)] == ["ok", "ok"]

    asyncio.run(scenario())


def test_other_lanes_and_executors_go_on_past_a_killer(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path, executors=2) as rig:
            await rig.until(lambda: True)
            for at in range(10):
                killer = [request((hostile.ABORT, 1))] if at == 4 else []
                rig.pool.submit(work(killer + [FINE] * 20, 1, 100 * at))
                rig.pool.submit(work([FINE] * 20, 2, 100 * at))
            await rig.until(lambda: len(rig.codes) + sum(len(o) for _, o, _ in rig.suspects) == 401)
            assert any(400 in offsets for lane, offsets, _ in rig.suspects if lane == 1)
            assert rig.deaths == ["crashed"]

    asyncio.run(scenario())


def test_hung_batch_is_ended_in_time(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=1)

    async def scenario() -> None:
        async with Rig(tmp_path, run_timeout_ms=700) as rig:
            started = time.monotonic()
            rig.pool.submit(work([FINE, request((hostile.HANG, 1)), FINE]))
            await rig.until(lambda: bool(rig.suspects))
            assert 0.7 < time.monotonic() - started
            assert rig.suspects == [(1, [1], "hung")]
            await rig.answered(2)

    asyncio.run(scenario())


def test_stopped_executor_with_work_is_replaced(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path, run_timeout_ms=700) as rig:
            os.kill(pid_of(rig), signal.SIGSTOP)
            rig.pool.submit(work([FINE]))
            await rig.answered(1)
            assert rig.deaths == ["hung"]
            assert rig.suspects == []

    asyncio.run(scenario())


def test_idle_or_slow_executor_is_left_alone(tmp_path: Path) -> None:
    write_hostile(tmp_path, "slow", max_batch_size=1)

    async def scenario() -> None:
        async with Rig(tmp_path, run_timeout_ms=1_000) as rig:
            await asyncio.sleep(1.5)
            rig.pool.submit(work([request((0, 1), "slow")] * 30))
            await rig.answered(30)
            assert not rig.deaths

    asyncio.run(scenario())


def test_poison_in_a_batch_spares_its_neighbours(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            values = [request((0, at)) for at in range(64)]
            values[17] = values[40] = request((hostile.RAISE, 1), id="poison")
            rig.pool.submit(work(values))
            await rig.answered(64)
            bad = [at for at in range(64) if rig.code(at) != "ok"]
            assert bad == [17, 40]
            assert rig.code(17) == "model_error"
            assert rig.failure(17) == {
                "model": "hostile",
                "version": "1",
                "id": "poison",
                "message": "ZeroDivisionError: poison",
            }
            assert all(rig.number(at) == at + 1 for at in range(64) if at not in bad)
            assert not rig.deaths

    asyncio.run(scenario())


def test_batch_too_large_for_memory_is_halved(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit(work([request((hostile.TOO_MANY, at)) for at in range(9)]))
            await rig.answered(9)
            assert all(rig.number(at) == at + 1 for at in range(9))

    asyncio.run(scenario())


def test_request_too_large_for_memory_alone_is_out_of_memory(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit(work([FINE, request((hostile.TOO_BIG, 1)), FINE]))
            await rig.answered(3)
            assert [rig.code(at) for at in range(3)] == ["ok", "out_of_memory", "ok"]
            assert not rig.deaths

    asyncio.run(scenario())


def test_lost_device_ends_the_executor_with_its_batch_as_suspects(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit(work([request((hostile.LOST, 1))]))
            await rig.until(lambda: bool(rig.suspects))
            assert rig.suspects == [(1, [0], "crashed")]
            rig.pool.submit(work([FINE], start=1))
            await rig.answered(1)

    asyncio.run(scenario())


def test_forgotten_lane_is_not_accused(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path, run_timeout_ms=700) as rig:
            rig.pool.submit(work([request((hostile.HANG, 1))], 1))
            await rig.computing(0)
            rig.pool.forget(1)
            rig.pool.submit(work([FINE], 2))
            await rig.answered(1)
            assert rig.deaths == ["hung"]
            assert rig.suspects == []

    asyncio.run(scenario())


def test_model_that_kills_while_loading_is_left_out(tmp_path: Path) -> None:
    write_hostile(tmp_path)
    write_hostile(tmp_path, "killer", content=b"dies while it is loaded")

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            assert rig.deaths == ["crashed", "crashed"]
            rig.pool.submit(work([FINE, request((0, 1), "killer")]))
            await rig.answered(2)
            assert [rig.code(0), rig.code(1)] == ["ok", "unknown_model"]
            assert "refused" in rig.failure(1)["message"]

    asyncio.run(scenario())


def test_executor_that_cannot_start_is_not_started_without_pause(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path, (sys.executable, "-c", "raise SystemExit(3)"))
        starting = asyncio.create_task(rig.pool.start())
        await rig.until(lambda: len(rig.deaths) == 2)
        since = time.monotonic()
        await rig.until(lambda: len(rig.deaths) == 3)
        assert time.monotonic() - since > 0.9
        assert not rig.pool.available
        await rig.pool.stop()
        await starting

    asyncio.run(scenario())


def test_executor_that_cannot_be_spawned_is_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        program = tmp_path / "no-such-program"
        rig = Rig(tmp_path, (str(program), *HOSTILE[1:]))
        starting = asyncio.create_task(rig.pool.start())
        await asyncio.sleep(0.6)
        assert not starting.done()
        program.write_text(f'#!/bin/sh\nexec "{HOSTILE[0]}" "$@"\n')
        program.chmod(0o700)
        await asyncio.wait_for(starting, 60)
        assert rig.pool.available
        await rig.pool.stop()

    asyncio.run(scenario())


def test_executor_that_sends_no_frame_is_replaced(tmp_path: Path) -> None:
    async def scenario() -> None:
        code = "import os, sys, time; os.write(int(sys.argv[1]), b'x' * 64); time.sleep(60)"
        rig = Rig(tmp_path, (sys.executable, "-c", code))
        starting = asyncio.create_task(rig.pool.start())
        await rig.until(lambda: len(rig.deaths) == 2)  # the second is the replacement's
        assert rig.deaths == ["crashed", "crashed"]
        assert not rig.pool.available
        await rig.pool.stop()
        await starting

    asyncio.run(scenario())


NODE = """
import asyncio, sys
from pathlib import Path
from tests.workers.rig import Rig, request, work

async def main():
    async with Rig(Path(sys.argv[1]), executors=2) as rig:
        rig.pool.submit(work([request((2, 1))]))  # hangs
        while len(rig.pool.executors) < 2:
            await asyncio.sleep(0.01)
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_executors_do_not_outlive_their_node(tmp_path: Path, end: signal.Signals) -> None:
    write_hostile(tmp_path)
    with subprocess.Popen(
        (sys.executable, "-c", NODE, str(tmp_path)), stdout=subprocess.PIPE, text=True
    ) as node:
        try:
            assert node.stdout is not None
            assert "ready\n" in iter(node.stdout.readline, "")
            children = psutil.Process(node.pid).children(recursive=True)
            assert len(children) == 2
            node.send_signal(end)
            node.wait()
            gone, alive = psutil.wait_procs(children, timeout=30)
            assert (len(gone), alive) == (2, [])
        finally:
            node.kill()


def test_stopped_executor_does_not_outlive_its_node(tmp_path: Path) -> None:
    """It cannot read that its socket has ended: the kernel has to end it."""
    write_hostile(tmp_path)
    with subprocess.Popen(
        (sys.executable, "-c", NODE, str(tmp_path)), stdout=subprocess.PIPE, text=True
    ) as node:
        try:
            assert node.stdout is not None
            assert "ready\n" in iter(node.stdout.readline, "")
            children = psutil.Process(node.pid).children(recursive=True)
            for child in children:
                child.suspend()
            node.kill()
            node.wait()
            assert psutil.wait_procs(children, timeout=30)[1] == []
        finally:
            node.kill()


@pytest.mark.campaign
def test_random_kills_lose_nothing_and_answer_nothing_twice(tmp_path: Path) -> None:
    """The rig fails at a second answer; suspects are submitted again, as a lane would."""
    write_hostile(tmp_path, "slow", max_batch_size=32)
    total, kills = 8_000, 4

    async def scenario() -> None:
        async with Rig(tmp_path, executors=2) as rig:
            values = [request((0, at), "slow") for at in range(total)]
            for start in range(0, total, 500):
                rig.pool.submit(work(values[start : start + 500], start=start))
            seen = 0
            for deaths in range(1, kills + 1):
                await rig.until(lambda: bool(rig.pool.executors))
                await asyncio.sleep(0.3)  # it computes something
                os.kill(rig.pool.executors[0].pid, signal.SIGKILL)
                await rig.until(partial(has_died, rig, deaths))
                seen = resubmit(rig, values, seen)
            while len(rig.codes) < total:
                await asyncio.sleep(0.1)
                seen = resubmit(rig, values, seen)
            assert len(rig.deaths) == kills
            assert all(rig.number(at) == at + 1 for at in range(total))

    asyncio.run(scenario())


def has_died(rig: Rig, times: int) -> bool:
    return len(rig.deaths) >= times


def resubmit(rig: Rig, values: list[bytes], seen: int) -> int:
    """Submit suspects from number `seen` on again, each alone."""
    for lane, offsets, _ in rig.suspects[seen:]:
        for offset in offsets:
            rig.pool.submit(work([values[offset]], lane, offset, isolate=True))
    return len(rig.suspects)
