"""Requests of a paused model come back from executors, and only those; with real processes."""

import asyncio
from pathlib import Path

import pytest

from chimera.schemas.placements import Orders, Placement
from chimera.workers.models import write_model
from tests.workers import hostile_executor as hostile
from tests.workers.rig import REAL, Rig, block, manifest, request, sums, work, write_hostile


def placed(folder: Path, model: str, version: str = "1") -> Placement:
    return Placement(model, version, version * 64, str(folder / model / version))


def orders(folder: Path, *models: str, paused: tuple[str, ...] = ()) -> Orders:
    return Orders(
        tuple(placed(folder, model) for model in models),
        {model: {"1": 1.0} for model in models},
        paused=paused,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for model in ("hostile", "other"):
        write_hostile(tmp_path, model)
    write_hostile(tmp_path, "hostile", version="2")
    write_hostile(tmp_path, "slow", max_batch_size=1)
    return tmp_path


def test_paused_model_is_handed_back_and_others_go_on(folder: Path) -> None:
    async def scenario() -> None:
        async with Rig(folder, orders=orders(folder, "hostile", "other")) as rig:
            rig.pool.pause(["hostile"])
            mixed = [request((0, at), ("hostile", "other")[at % 2]) for at in range(20)]
            rig.pool.submit(work(mixed))
            await rig.until(lambda: len(rig.codes) + len(rig.waiting()) == 20)
            assert rig.waiting() == set(range(0, 20, 2))
            assert {one.model for one in rig.deferred} == {"hostile"}
            assert {rig.code(at) for at in range(1, 20, 2)} == {"ok"}
            assert rig.in_flight() == (0, 0) and not rig.deaths
            rig.pool.pause([])
            rig.pool.submit(work(mixed[::2], start=100))
            await rig.answered(20)

    asyncio.run(scenario())


def test_executor_that_starts_while_a_model_is_paused_hands_back_too(folder: Path) -> None:
    async def scenario() -> None:
        async with Rig(folder, orders=orders(folder, "hostile", paused=("hostile",))) as rig:
            rig.pool.submit(work([request((0, 1))]))
            await rig.until(lambda: rig.waiting() == {0})
            assert list(rig.pool.paused) == ["hostile"]
            rig.pool.pause([])
            rig.pool.submit(work([request((hostile.ABORT, 1))], lane=2))
            await rig.until(lambda: bool(rig.deaths))
            rig.pool.pause(["hostile"])  # to whoever is being started
            rig.pool.submit(work([request((0, 1))], start=1))
            await rig.until(lambda: rig.waiting() == {0, 1})

    asyncio.run(scenario())


def test_pause_reaches_what_waits_in_an_executor(folder: Path) -> None:
    async def scenario() -> None:
        async with Rig(folder, orders=orders(folder, "slow")) as rig:
            rig.pool.submit(work([request((0, at), "slow") for at in range(400)]))
            await rig.answered(2)
            rig.pool.pause(["slow"])
            await rig.until(lambda: len(rig.codes) + len(rig.waiting()) == 400)
            assert len(rig.waiting()) > 300

    asyncio.run(scenario())


def test_other_lanes_have_room_while_paused_requests_fill_theirs(folder: Path) -> None:
    async def scenario() -> None:
        async with Rig(folder, orders=orders(folder, "hostile", "other")) as rig:
            rig.pool.pause(["hostile"])
            for lane in range(1, 13):  # more than one executor takes at once
                rig.pool.submit(work([request((0, 1))] * 1_000, lane=lane))
            rig.pool.submit(work([request((0, 1), "other")], lane=99))
            await rig.until(lambda: (99, 0) in rig.codes)
            await rig.until(lambda: sum(len(one.offsets) for one in rig.deferred) == 12_000)
            assert rig.in_flight() == (0, 0)

    asyncio.run(scenario())


def test_version_that_comes_during_a_pause_answers_after_it(folder: Path) -> None:
    async def scenario() -> None:
        async with Rig(folder, orders=orders(folder, "hostile")) as rig:
            rig.pool.pause(["hostile"])
            rig.pool.submit(work([request((0, 1))]))
            await rig.until(lambda: rig.waiting() == {0})
            assert await rig.pool.hold([placed(folder, "hostile", "2")]) == ()
            rig.pool.direct({"hostile": {"2": 1.0}})
            rig.pool.submit(work([request((0, 1))], start=1))
            await rig.until(lambda: rig.waiting() == {0, 1})
            rig.pool.pause([])
            rig.pool.submit(work([request((0, 1))] * 2))
            await rig.answered(2)
            assert {rig.value(at)["model_version"] for at in (0, 1)} == {"2"}

    asyncio.run(scenario())


def test_block_of_a_paused_model_is_handed_back_whole(tmp_path: Path) -> None:
    write_model(tmp_path, sums(), manifest("sums"))

    async def scenario() -> None:
        async with Rig(tmp_path, REAL, orders=orders(tmp_path, "sums", paused=("sums",))) as rig:
            values = [request((at, 2), "sums") for at in range(80)]
            rig.pool.submit_block(block(values))
            await rig.until(lambda: rig.waiting() == set(range(80)))
            assert rig.in_flight() == (0, 0) and not rig.unread
            rig.pool.pause([])
            rig.pool.submit_block(block(values, start=80))
            await rig.until(lambda: bool(rig.results))

    asyncio.run(scenario())


def test_block_of_several_models_hands_back_what_is_paused(folder: Path) -> None:
    async def scenario() -> None:
        async with Rig(folder, orders=orders(folder, "hostile", "other", paused=("other",))) as rig:
            names = ("hostile", "other")
            rig.pool.submit_block(block([request((0, at), names[at % 2]) for at in range(20)]))
            await rig.until(lambda: len(rig.codes) + len(rig.waiting()) == 20)
            assert rig.waiting() == set(range(1, 20, 2))
            assert {rig.code(at) for at in range(0, 20, 2)} == {"ok"}

    asyncio.run(scenario())


def test_version_that_was_refused_at_the_start_is_waited_for(folder: Path) -> None:
    async def scenario() -> None:
        missing = orders(folder, "hostile", "nowhere")
        async with Rig(folder, orders=missing) as rig:
            assert [one.model for one in rig.pool.refused] == ["nowhere"]
            values = [request((0, 1), "hostile"), request((0, 1), "nowhere"), request((0, 1), "no")]
            rig.pool.submit(work(values))
            await rig.until(lambda: len(rig.codes) == 2 and rig.waiting() == {1})
            assert (rig.code(0), rig.code(2)) == ("ok", "unknown_model")
            (refused,) = await rig.pool.hold(missing.placements)
            assert refused.model == "nowhere"
            write_hostile(folder, "nowhere")
            assert await rig.pool.hold(missing.placements) == () == tuple(rig.pool.refused)
            rig.pool.submit(work(values[1:2], start=3))
            await rig.until(lambda: (1, 3) in rig.codes)
            assert rig.code(3) == "ok"

    asyncio.run(scenario())
