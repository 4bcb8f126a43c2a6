"""A pool with real executor processes: what goes in comes back, once each."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.manifest import TensorSpec
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.settings import Settings
from chimera.workers.models import write_model
from chimera.workers.pool import Pool
from tests.workers import hostile_executor as hostile
from tests.workers.rig import (
    HOSTILE,
    REAL,
    TOPIC,
    Rig,
    binary_request,
    manifest,
    request,
    sums,
    work,
    write_hostile,
)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_requests_are_answered_by_the_real_model(tmp_path: Path, run: Any) -> None:
    write_model(tmp_path, sums(), manifest("sums", version="3"))

    async def scenario() -> None:
        async with Rig(tmp_path, REAL) as rig:
            raw, head = binary_request((5, 6), "sums")
            values = [
                request((1, 2), "sums", id="mine"),
                b"{no json",
                request((1, 2, 3), "sums"),
                request((1, 2), "nothing"),
                raw,
                request([(1, 2), (3, 4)], "sums"),
            ]
            rig.pool.submit(work(values, heads=[-1, -1, -1, -1, head, -1]))
            await rig.answered(6)
            codes = [rig.code(offset) for offset in range(6)]
            assert codes == ["ok", "malformed", "schema_invalid", "unknown_model", "ok", "ok"]
            assert rig.value(0) == {
                "model_name": "sums",
                "model_version": "3",
                "id": "mine",
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [3.0]}],
            }
            assert rig.value(4)["outputs"][0]["data"] == [11.0]
            assert rig.value(4)["id"] == f"{TOPIC}:1:4"
            assert rig.value(5)["outputs"][0]["data"] == [3.0, 7.0]
            assert rig.failure(2)["model"] == "sums"
            assert rig.headers(0)["chimera-tier"] == b"onnx-cpu"
            story = next(story for story, offsets in rig.batches if 0 in offsets)
            assert (story.model, story.version, story.size) == ("sums", "3", 4)

    run(scenario())


def test_executor_does_not_see_the_secrets_of_its_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KEYS__SIGNING", "POSTGRES__DSN", "KAFKA__SASL_PASSWORD"):
        monkeypatch.setenv(f"CHIMERA_{name}", "very secret")
    monkeypatch.setenv("CHIMERA_SERVING__THREADS", "1")
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            (executor,) = rig.pool.executors
            seen = psutil.Process(executor.pid).environ()
            assert "CHIMERA_SERVING__THREADS" in seen
            assert "very secret" not in seen.values()

    asyncio.run(scenario())


def test_batches_form_across_lanes_and_share_one_story(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_queue_delay_us=300_000)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            for lane in (1, 2, 3):
                rig.pool.submit(work([request((0, lane))] * 2, lane))
            await rig.answered(6)
            assert {story.size for story, _ in rig.batches} == {6}
            assert [story.is_first for story, _ in rig.batches] == [True, False, False]
            assert [rig.number(0, lane) for lane in (1, 2, 3)] == [2, 3, 4]

    asyncio.run(scenario())


def test_many_works_of_many_lanes_come_back_whole(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=7)

    async def scenario() -> None:
        async with Rig(tmp_path, executors=2) as rig:
            for start in range(0, 3000, 600):
                for lane in (1, 2, 3):
                    values = [request((0, start + at)) for at in range(600)]
                    rig.pool.submit(work(values, lane, start))
            await rig.answered(9000)
            assert all(rig.number(at, lane) == at + 1 for lane in (1, 2, 3) for at in range(3000))
            assert max(story.size for story, _ in rig.batches) == 7

    asyncio.run(scenario())


def test_slow_model_does_not_hold_up_another(tmp_path: Path) -> None:
    write_hostile(tmp_path, "slow", max_batch_size=1)
    write_hostile(tmp_path, "fast")

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit(work([request((0, 1), "slow")] * 200, 1))
            await rig.answered(1)
            started = time.monotonic()
            for at in range(10):
                rig.pool.submit(work([request((0, at), "fast")], 2, at))
                await rig.until(lambda wanted=(2, at): wanted in rig.codes)  # type: ignore[misc]
            assert time.monotonic() - started < 10 * 0.2
            assert sum(lane == 1 for lane, _ in rig.codes) < 100

    asyncio.run(scenario())


def test_lane_full_of_slow_work_leaves_room_for_others(tmp_path: Path) -> None:
    write_hostile(tmp_path, "slow", max_batch_size=1)
    write_hostile(tmp_path, "fast")

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            for start in range(0, 20_480, 512):
                rig.pool.submit(work([request((0, 1), "slow")] * 512, 1, start))
            rig.pool.submit(work([request((0, 1), "fast")], 2))
            (handle,) = rig.pool._handles()  # pyright: ignore[reportPrivateUsage]
            assert handle.records_of(1) <= 1024
            await rig.until(lambda: (2, 0) in rig.codes)

    asyncio.run(scenario())


def test_expired_request_is_answered_without_compute(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            past, future = 1, time.time_ns() // 1_000_000 + 60_000
            values = [request((hostile.ABORT, 1), id="late"), request((0, 2)), request((0, 3))]
            rig.pool.submit(work(values, deadlines=[past, future, 0]))
            await rig.answered(3)
            assert [rig.code(at) for at in range(3)] == ["deadline_exceeded", "ok", "ok"]
            assert rig.failure(0)["id"] == "late"
            assert not rig.deaths

    asyncio.run(scenario())


def test_deadline_that_passes_in_the_queue_counts(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=1)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            soon = time.time_ns() // 1_000_000 + 250
            values = [request((hostile.SLEEP, 1)), request((0, 2))]
            rig.pool.submit(work(values, deadlines=[0, soon]))
            await rig.answered(2)
            assert [rig.code(0), rig.code(1)] == ["ok", "deadline_exceeded"]

    asyncio.run(scenario())


def test_forgotten_lane_hears_nothing_more(tmp_path: Path) -> None:
    write_hostile(tmp_path, "slow", max_batch_size=1)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit(work([request((0, 1), "slow")] * 2000, 1))
            rig.pool.submit(work([request((0, 1), "slow")] * 3, 2))
            await rig.until(lambda: any(lane == 1 for lane, _ in rig.codes))
            rig.pool.forget(1)
            heard = sum(lane == 1 for lane, _ in rig.codes)
            await rig.until(lambda: sum(lane == 2 for lane, _ in rig.codes) == 3)
            await asyncio.sleep(0.2)
            assert sum(lane == 1 for lane, _ in rig.codes) == heard
            rig.pool.submit(work([request((0, 7), "slow")], 3))
            await rig.until(lambda: (3, 0) in rig.codes)

    asyncio.run(scenario())


def test_priority_goes_first_where_there_is_no_order(tmp_path: Path) -> None:
    write_hostile(tmp_path, "slow", max_batch_size=1, ordering="none")

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            extras = {9: {"priority": "1"}, 1: {"priority": "9"}}
            rig.pool.submit(work([request((0, 1), "slow")] * 10, extras=extras))
            await rig.answered(10)
            assert rig.order[0] == (1, 9)
            assert rig.order[-1] == (1, 1)

    asyncio.run(scenario())


def test_priority_changes_nothing_where_order_counts(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=1)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit(work([request((0, 1))] * 10, extras={9: {"priority": "1"}}))
            await rig.answered(10)
            assert rig.order == [(1, at) for at in range(10)]

    asyncio.run(scenario())


def test_shapes_that_differ_do_not_share_a_batch(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_queue_delay_us=100_000, inputs=(TensorSpec("x", "FP32", (-1, -1)),))

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            values = [request((0, at) if at % 2 else (0, at, 9)) for at in range(6)]
            rig.pool.submit(work(values))
            await rig.answered(6)
            assert sorted(offsets for _, offsets in rig.batches) == [[0, 2, 4], [1, 3, 5]]

    asyncio.run(scenario())


def test_rows_of_requests_add_up_to_a_batch(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=4)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            values = [
                request([(0, 1), (0, 2), (0, 3)]),
                request((0, 4)),
                request([(0, 5)] * 5),
                request([(0, 6), (0, 7)]),
            ]
            rig.pool.submit(work(values))
            await rig.answered(4)
            assert rig.value(0)["outputs"][0]["data"] == [2, 3, 4]
            assert rig.value(3)["outputs"][0]["data"] == [7, 8]
            assert rig.code(2) == "schema_invalid"
            assert "1 to 4" in rig.failure(2)["message"]
            assert sorted(story.size for story, _ in rig.batches) == [0, 2, 4]

    asyncio.run(scenario())


def test_model_without_batches_computes_each_alone(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=0)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit(work([request([(0, 1), (0, 2)]), request((0, 3))]))
            await rig.answered(2)
            assert rig.value(0)["outputs"][0]["data"] == [2, 3]
            assert [story.size for story, _ in rig.batches] == [1, 1]

    asyncio.run(scenario())


def test_result_over_the_limit_is_too_large(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path, max_result_bytes=100_000) as rig:
            rig.pool.submit(work([request((hostile.HUGE, 1))]))
            await rig.answered(1)
            rig.pool.submit(work([request((0, 1))], 2))
            await rig.answered(2)
            assert rig.code(0) == "too_large"
            assert rig.code(0, 2) == "ok"

    asyncio.run(scenario())


def test_executors_answer_signals_to_the_group_with_silence(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            (report,) = rig.pool.executors
            os.kill(report.pid, signal.SIGINT)
            os.kill(report.pid, signal.SIGTERM)
            rig.pool.submit(work([request((0, 1))]))
            await rig.answered(1)
            assert not rig.deaths

    asyncio.run(scenario())


def test_stop_leaves_no_process_and_no_file_open(tmp_path: Path) -> None:
    write_hostile(tmp_path, "slow")

    async def scenario() -> None:
        me = psutil.Process()
        before, others = me.num_fds(), me.children()  # the session's Kafka
        rig = Rig(tmp_path, executors=2)
        await rig.pool.start()
        rig.pool.submit(work([request((0, 1), "slow")] * 2000))
        children = [child for child in me.children() if child not in others]
        assert children
        await rig.pool.stop()
        assert not any(child.is_running() for child in children)
        await asyncio.sleep(0)
        assert me.num_fds() <= before

    asyncio.run(scenario())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_stop_during_start_leaves_no_process(tmp_path: Path, run: Any) -> None:
    async def scenario(pause_s: float) -> None:
        rig = Rig(tmp_path, executors=2)
        starting = asyncio.create_task(rig.pool.start())
        await asyncio.sleep(pause_s)
        await rig.pool.stop()
        await asyncio.wait_for(starting, 30)
        assert psutil.Process().children() == others

    others = psutil.Process().children()  # the session's Kafka
    for pause_s in (0, 0.001, 0.004, 0.01, 0.05, 0.2):
        run(scenario(pause_s))


def test_limits_that_no_frame_holds_are_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MAX_RESULT_BYTES"):
        Rig(tmp_path, max_result_bytes=1 << 30)


def test_device_that_is_none_stops_the_start(tmp_path: Path) -> None:
    async def scenario(device: str) -> None:
        settings = Settings(serving=ServingSettings(models_dir=tmp_path, devices=(device,)))
        pool = Pool(settings, Rig(tmp_path), entry=HOSTILE)
        try:
            with pytest.raises(ConfigurationError, match=device):
                await asyncio.wait_for(pool.start(), 10)
        finally:
            await pool.stop()

    for device in ("cuda:7", "gpu0"):
        asyncio.run(scenario(device))
