"""What executors hold and who answers, changed while they compute: nothing is lost or answered twice."""

# pyright: reportPrivateUsage=false
# (a pool tells nobody of executors that do not compute yet)

import asyncio
from pathlib import Path

import pytest

from chimera.schemas.manifest import File
from chimera.schemas.placements import Orders, Placement, Shadow, Traffic, Variant
from chimera.workers import slots
from chimera.workers.models import write_model
from tests.workers.rig import (
    REAL,
    WITHIN_S,
    Rig,
    block,
    manifest,
    request,
    sums,
    work,
    write_hostile,
)

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


MIB = 1 << 20
BUDGET = 150 * MIB  # two of those below, not three


@pytest.fixture
def large(tmp_path: Path) -> list[Placement]:
    """Three versions of 64 MiB each, and one of 256."""
    for version, size in (("1", 64), ("2", 64), ("3", 64), ("4", 256)):
        write_hostile(tmp_path, version=version, content=b"takes %d" % size)
    return [placed(tmp_path, version) for version in "1234"]


def held(rig: Rig) -> list[str]:
    (executor,) = rig.pool.executors
    return sorted(one.version for one in executor.models)


def test_version_that_was_used_least_makes_room_and_comes_back(large: list[Placement]) -> None:
    one, two, three, _ = large

    async def scenario() -> None:
        orders = Orders((one,), to("1"), spare=(two,))
        async with Rig(Path(), orders=orders, model_memory_bytes=BUDGET) as rig:
            (executor,) = rig.pool.executors
            assert all(60 * MIB < model.size_bytes < 80 * MIB for model in executor.models)
            assert held(rig) == ["1", "2"]
            assert await rig.pool.hold([three], [one, two], to("3")) == ()
            assert held(rig) == ["1", "3"], "what answers goes last"
            rig.pool.direct(to("3"))
            assert await answered_by(rig, 0) == (b"3" * 64, "3")
            assert len(rig.pool.holdings.take_evicted()) == 1
            for offset, back in enumerate((one, two), 1):  # one of them was evicted
                assert await rig.pool.hold([back], [three], to(back.version)) == ()
                rig.pool.direct(to(back.version))
                assert (await answered_by(rig, offset))[1] == back.version
            assert rig.deaths == []

    asyncio.run(scenario())


def test_version_that_cannot_fit_is_refused_and_what_serves_goes_on(large: list[Placement]) -> None:
    one, two, _, huge = large

    async def scenario() -> None:
        orders = Orders((one,), to("1"), spare=(two,))
        async with Rig(Path(), orders=orders, model_memory_bytes=BUDGET) as rig:
            before = rig.pool.executors
            (refused,) = await rig.pool.hold([huge], [one, two], to("4"))
            assert refused.version == "4" and "budget" in refused.refused
            assert rig.pool.executors == before
            assert (await answered_by(rig, 0))[1] == "1"

    asyncio.run(scenario())


def test_version_that_answers_makes_room_for_its_successor_alone(large: list[Placement]) -> None:
    one, two, *_ = large

    async def scenario() -> None:
        orders = Orders((one,), to("1"))
        async with Rig(Path(), executors=2, orders=orders, model_memory_bytes=2 * 100 * MIB) as rig:
            rig.pool.submit(work([request((0, at)) for at in range(2_000)], lane=2))
            assert await rig.pool.hold([two], [one], to("2")) == ()
            rig.pool.direct(to("2"))
            assert await answered_by(rig, 0) == (b"2" * 64, "2")
            await rig.answered(2_001)
            assert {rig.code(at, lane=2) for at in range(2_000)} == {"ok"}
            assert rig.deaths == []

    asyncio.run(scenario())


def test_node_that_starts_with_more_than_fits_keeps_what_has_to_be_there(
    large: list[Placement],
) -> None:
    one, two, three, _ = large

    async def scenario() -> None:
        orders = Orders((one,), to("1"), spare=(two, three))
        async with Rig(Path(), orders=orders, model_memory_bytes=BUDGET) as rig:
            assert held(rig) in (["1", "2"], ["1", "3"])
            assert (await answered_by(rig, 0))[1] == "1"

    asyncio.run(scenario())


def test_version_without_room_at_the_start_is_waited_for_over_other_changes(
    large: list[Placement], tmp_path: Path
) -> None:
    one, _, _, huge = large
    write_hostile(tmp_path, "other")
    other = Placement("other", "1", "5" * 64, str(tmp_path / "other" / "1"))
    traffic = to("4") | {"other": {"1": 1.0}}

    async def scenario() -> None:
        orders = Orders((huge,), to("4"), spare=(one,))
        async with Rig(Path(), orders=orders, model_memory_bytes=BUDGET) as rig:
            (refused,) = rig.pool.refused
            assert refused.version == "4" and "budget" in refused.refused
            rig.pool.submit(work([request((0, 1))]))
            await rig.until(lambda: rig.waiting() == {0})
            assert await rig.pool.hold([other], [one], traffic) == ()
            assert held(rig) == ["1", "1", "4"]
            assert [one.version for one in rig.pool.refused] == ["4"]
            rig.pool.submit(work([request((0, 1))], start=1))
            await rig.until(lambda: rig.waiting() == {0, 1})
            (again,) = await rig.pool.hold([other, huge], [one], traffic)
            assert again.version == "4" and "budget" in again.refused
            assert rig.deaths == [] and rig.codes == {}

    asyncio.run(scenario())


def test_shadow_without_room_is_refused_and_what_is_live_goes_on(large: list[Placement]) -> None:
    one, two, three, _ = large

    async def scenario() -> None:
        orders = Orders((one, two, three), to("1", "2"), {"hostile": Shadow("3")})
        async with Rig(Path(), orders=orders, model_memory_bytes=BUDGET) as rig:
            assert [refused.version for refused in rig.pool.refused] == ["3"]
            rig.pool.submit(work([request((0, at)) for at in range(20)]))
            await rig.answered(20)
            assert {rig.value(at)["model_version"] for at in range(20)} <= {"1", "2"}

    asyncio.run(scenario())


def test_pauses_and_shadows_outlast_what_is_displaced(large: list[Placement]) -> None:
    one, two, three, _ = large

    async def scenario() -> None:
        orders = Orders((one,), to("1"), spare=(two,))
        async with Rig(Path(), orders=orders, model_memory_bytes=BUDGET) as rig:
            rig.pool.pause(["hostile"])
            assert await rig.pool.hold([one, three], [two], to("1")) == ()
            rig.pool.mirror({"hostile": Shadow("3")})
            rig.pool.submit(work([request((0, 1))]))
            await rig.until(lambda: rig.waiting() == {0})
            rig.pool.pause([])
            assert await answered_by(rig, 1) == (b"1" * 64, "1")
            await rig.until(lambda: any(report.shadows for report in rig.reports))

    asyncio.run(scenario())


def test_ways_back_go_before_what_answers(large: list[Placement]) -> None:
    one, two, three, _ = large

    async def scenario() -> None:
        orders = Orders((one,), to("1"), spare=(two,))
        async with Rig(Path(), orders=orders, model_memory_bytes=BUDGET) as rig:
            turns = rig.pool.turns
            assert await rig.pool.hold([three], [two, one], to("3")) == ()
            assert held(rig) == ["1", "3"] and rig.pool.turns == turns
            assert await answered_by(rig, 0) == (b"1" * 64, "1")

    asyncio.run(scenario())


def shut(placement: Placement, *, is_shut: bool = True) -> None:
    """From now on whoever loads it waits."""
    gate = Path(placement.folder, "hold")
    gate.touch() if is_shut else gate.unlink()


async def loading(rig: Rig, *, known: int = 1) -> None:
    """Until one more executor lives than the slots have."""
    async with asyncio.timeout(WITHIN_S):
        while len(list(rig.pool._handles())) == known:  # noqa: ASYNC110  # nobody tells of it
            await asyncio.sleep(0.01)


def test_load_that_is_superseded_is_given_up_at_once(large: list[Placement]) -> None:
    one, two, *_ = large

    async def scenario() -> None:
        shut(two)
        async with Rig(Path(), orders=Orders((one,), to("1"))) as rig:
            before, superseded = rig.pool.executors, asyncio.Event()
            hold = asyncio.create_task(rig.pool.hold([two], [one], to("2"), superseded))
            await loading(rig)
            assert list(rig.pool.held) == [one]
            superseded.set()
            assert await hold == () and list(rig.pool.held) == [one]
            shut(two, is_shut=False)
            assert await rig.pool.hold([two], [one], to("2")) == ()
            assert sorted(held.version for held in rig.pool.held) == ["1", "2"]
            assert before != rig.pool.executors and rig.deaths == []

    asyncio.run(scenario())


def test_load_does_not_end_what_was_told_to_answer_meanwhile(large: list[Placement]) -> None:
    one, two, three, _ = large

    async def scenario() -> None:
        orders = Orders((two,), to("2"), spare=(one,))
        async with Rig(Path(), orders=orders, model_memory_bytes=BUDGET) as rig:
            shut(three)
            superseded = asyncio.Event()
            hold = asyncio.create_task(rig.pool.hold([two, three], [one], to("2"), superseded))
            await loading(rig)
            rig.pool.switch("hostile", {"1": 1.0}, None)
            assert await answered_by(rig, 0) == (b"1" * 64, "1")
            shut(three, is_shut=False)
            assert await hold == () and superseded.is_set()
            assert held(rig) == ["1", "2"]
            assert await answered_by(rig, 1) == (b"1" * 64, "1")
            assert await rig.pool.hold([one, three], [two], to("1")) == ()
            assert held(rig) == ["1", "3"] and rig.deaths == []

    asyncio.run(scenario())
