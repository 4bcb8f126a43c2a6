"""What executors hold and who answers, changed while they compute: nothing is lost or answered twice."""

import asyncio
from pathlib import Path

import pytest

from chimera.schemas.manifest import File
from chimera.schemas.placements import Orders, Placement, Traffic, Variant
from chimera.workers import slots
from chimera.workers.models import write_model
from tests.workers.rig import REAL, Rig, block, manifest, request, sums, work, write_hostile

DEADLY = b"dies while it is loaded"


def placed(folder: Path, version: str, digest: str = "") -> Placement:
    """A hostile model's version, named by a digest of its own."""
    own = str(folder / "hostile" / version)
    variants = (Variant("torch-cpu", own, {"x": File("0" * 64, 1)}, {1: 10.0}),)
    return Placement("hostile", version, digest or version * 64, own, variants)


def to(*versions: str) -> Traffic:
    return {"hostile": dict.fromkeys(versions, 1.0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for version in ("1", "2"):
        write_hostile(tmp_path, version=version)
    write_hostile(tmp_path, version="3", content=DEADLY)
    return tmp_path


async def answered_by(rig: Rig, offset: int) -> tuple[bytes, str]:
    """Digest and version that answer a request from now on."""
    rig.pool.submit(work([request((0, offset))], start=offset))
    await rig.until(lambda: (1, offset) in rig.codes)
    assert rig.code(offset) == "ok"
    return rig.headers(offset)["chimera-model-digest"], rig.value(offset)["model_version"]


def test_ordered_version_answers_under_its_own_digest(folder: Path) -> None:
    async def scenario() -> None:
        async with Rig(
            folder / "nothing-here",
            orders=Orders((placed(folder, "1"), placed(folder, "2")), to("1")),
        ) as rig:
            assert await answered_by(rig, 0) == (b"1" * 64, "1")
            rig.pool.submit(work([request((0, 1), model_version="2")], start=1))
            await rig.answered(2)
            assert rig.value(1)["model_version"] == "2"

    asyncio.run(scenario())


def test_traffic_turns_without_a_restart(folder: Path) -> None:
    async def scenario() -> None:
        async with Rig(
            folder, orders=Orders((placed(folder, "1"), placed(folder, "2")), to("1"))
        ) as rig:
            (before,) = rig.pool.executors
            for offset, version in enumerate(["2", "1", "2"]):
                rig.pool.direct(to(version))
                assert await answered_by(rig, offset) == (version.encode() * 64, version)
            rig.pool.direct({})
            rig.pool.submit(work([request((0, 1))], start=9))
            await rig.answered(4)
            assert rig.code(9) == "unknown_model"
            assert rig.pool.executors == [before]

    asyncio.run(scenario())


def test_version_is_loaded_beside_the_one_that_answers(folder: Path) -> None:
    async def scenario() -> None:
        async with Rig(folder, executors=2, orders=Orders((placed(folder, "1"),), to("1"))) as rig:
            load = [request((0, at)) for at in range(2_000)]
            rig.pool.submit(work(load, lane=2))
            assert await rig.pool.hold([placed(folder, "1"), placed(folder, "2")]) == ()
            assert await answered_by(rig, 0) == (b"1" * 64, "1")
            rig.pool.direct(to("2"))
            assert await answered_by(rig, 1) == (b"2" * 64, "2")
            await rig.answered(2_002)
            assert rig.deaths == [] and rig.suspects == []

    asyncio.run(scenario())


def test_executors_that_retire_answer_what_they_have(folder: Path) -> None:
    write_hostile(folder, "slow", max_batch_size=4)

    async def scenario() -> None:
        slow = Placement("slow", "1", "5" * 64, str(folder / "slow" / "1"))
        async with Rig(folder, orders=Orders((slow,), {"slow": {"1": 1.0}})) as rig:
            rig.pool.submit(work([request((0, at), "slow") for at in range(100)]))
            (before,) = rig.pool.executors
            assert await rig.pool.hold([slow, placed(folder, "1")]) == ()
            (after,) = rig.pool.executors
            assert after.pid != before.pid
            await rig.answered(100)
            assert [rig.number(at) for at in range(100)] == [at + 1 for at in range(100)]

    asyncio.run(scenario())


def test_work_of_one_that_does_not_finish_is_computed_by_its_successor(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "RETIRE_WITHIN_S", 0.3)
    write_hostile(folder, "slow", max_batch_size=1)

    async def scenario() -> None:
        slow = Placement("slow", "1", "5" * 64, str(folder / "slow" / "1"))
        async with Rig(folder, orders=Orders((slow,), {"slow": {"1": 1.0}})) as rig:
            rig.pool.submit(work([request((0, at), "slow") for at in range(60)]))
            assert await rig.pool.hold([slow, placed(folder, "1")]) == ()
            await rig.answered(60)
            assert rig.deaths == [] and rig.suspects == []

    asyncio.run(scenario())


def test_version_that_is_refused_or_deadly_changes_nothing(folder: Path) -> None:
    async def scenario() -> None:
        async with Rig(folder, orders=Orders((placed(folder, "1"),), to("1"))) as rig:
            (before,) = rig.pool.executors
            missing = placed(folder, "4")
            (refused,) = await rig.pool.hold([placed(folder, "1"), missing])
            assert (refused.model, refused.version) == ("hostile", "4") and refused.refused
            (refused,) = await rig.pool.hold([placed(folder, "1"), placed(folder, "3")])
            assert refused.version == "3" and "ended" in refused.refused
            assert rig.pool.executors == [before]
            assert await answered_by(rig, 0) == (b"1" * 64, "1")

    asyncio.run(scenario())


def test_executor_that_dies_comes_back_with_what_is_ordered_now(folder: Path) -> None:
    async def scenario() -> None:
        async with Rig(folder, orders=Orders((placed(folder, "1"),), to("1"))) as rig:
            assert await rig.pool.hold([placed(folder, "2")]) == ()
            rig.pool.direct(to("2"))
            rig.pool.submit(work([request((1, 0))], lane=3))  # aborts its process
            await rig.until(lambda: bool(rig.deaths))
            assert await answered_by(rig, 0) == (b"2" * 64, "2")

    asyncio.run(scenario())


def test_blocks_turn_to_the_new_version_between_two_batches(tmp_path: Path) -> None:
    folders = [write_model(tmp_path, sums(), manifest("sums", version)) for version in ("1", "2")]
    placements = [
        Placement("sums", str(number), str(number) * 64, str(folder))
        for number, folder in enumerate(folders, 1)
    ]

    async def scenario() -> None:
        async with Rig(
            tmp_path, REAL, orders=Orders(tuple(placements), {"sums": {"1": 1.0}})
        ) as rig:
            for turn in range(6):
                values = [request((at, 2), "sums", id=f"r{at}") for at in range(80)]
                rig.pool.submit_block(block(values, start=turn * 80))
                rig.pool.direct({"sums": {"12"[(turn + 1) % 2]: 1.0}})
            await rig.until(lambda: len(rig.results) == 6)
            results = sorted(rig.results, key=lambda one: one.first)
            versions = [one.stories[0].version for one in results]
            assert versions == ["1", "2", "1", "2", "1", "2"]
            assert all(len({story.digest for story in one.stories}) == 1 for one in rig.results)

    asyncio.run(scenario())
