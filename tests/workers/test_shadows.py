"""Versions that shadow others, in real executors: what they do is counted, and nobody else's matter."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chimera.schemas.placements import Orders, Placement, Shadow
from chimera.schemas.serving_settings import ShadowsSettings
from chimera.workers.models import write_model
from chimera.workers.reports import Report
from chimera.workers.splits import mirrored, source
from tests.workers import hostile_executor as hostile
from tests.workers.rig import (
    REAL,
    TOPIC,
    Rig,
    block,
    manifest,
    request,
    sums,
    work,
    write_hostile,
)

LIVE, SHADOW = "1", "shadow"
DIGEST = b"1" * 64
DIFFERS, ABORT, HANG, RAISE, LOST, SLEEP, TOO_BIG = (
    hostile.SHADOW + what
    for what in (
        hostile.DIFFERS,
        hostile.ABORT,
        hostile.HANG,
        hostile.RAISE,
        hostile.LOST,
        hostile.SLEEP,
        hostile.TOO_BIG,
    )
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for version in (LIVE, SHADOW):
        write_hostile(tmp_path, version=version)
    return tmp_path


def orders(folder: Path, share: float = 1.0, model: str = "hostile") -> Orders:
    placements = [
        Placement(model, version, digit * 64, str(folder / model / version))
        for version, digit in ((LIVE, "1"), (SHADOW, "2"))
    ]
    return Orders(tuple(placements), {model: {LIVE: 1.0}}, {model: Shadow(SHADOW, share)})


def rig_of(folder: Path, share: float = 1.0, **fields: Any) -> Rig:
    return Rig(folder, orders=orders(folder, share), **fields)


def seen(reports: Sequence[Report]) -> Counter[str]:
    """What the shadow came to so far."""
    found: Counter[str] = Counter()
    for report in reports:
        for one in report.shadows:
            assert one.version == SHADOW
            for field in ("compared", "disagreed", "errors", "dropped", "rows"):
                found[field] += getattr(one, field)
    return found


def died(rig: Rig, count: int) -> bool:
    return len(rig.deaths) == count


async def compared(rig: Rig, count: int) -> Counter[str]:
    await rig.until(lambda: seen(rig.reports)["compared"] + seen(rig.reports)["dropped"] >= count)
    return seen(rig.reports)


def test_disagreement_is_counted_exactly_and_nobody_sees_it(folder: Path) -> None:
    async def scenario() -> None:
        async with rig_of(folder) as rig:
            marks = [DIFFERS if at % 10 == 3 else 0 for at in range(400)]
            rig.pool.submit(work([request((mark, at)) for at, mark in enumerate(marks)]))
            await rig.answered(400)
            assert [rig.number(at) for at in range(400)] == [at + 1 for at in range(400)]
            assert {rig.headers(at)["chimera-model-digest"] for at in range(400)} == {DIGEST}
            found = await compared(rig, 400)
            assert +found == {"compared": 400, "disagreed": 40, "rows": 400}
            watched = [
                one for report in rig.reports for one in report.versions if one.version == SHADOW
            ]
            assert sum(one.seen.compared for one in watched) == 400
            assert sum(one.seen.disagreed for one in watched) == 40
            assert sum(one.seen.requests for one in watched) == 0

    asyncio.run(scenario())


def test_blocks_are_shadowed_by_their_requests_identities(tmp_path: Path) -> None:
    for version in (LIVE, SHADOW):
        write_model(tmp_path, sums(), manifest("sums", version))

    async def scenario() -> None:
        async with Rig(tmp_path, REAL, orders=orders(tmp_path, 0.25, "sums")) as rig:
            for turn in range(4):
                values = [request((at, 2), "sums", id=f"r{at}") for at in range(250)]
                rig.pool.submit_block(block(values, start=turn * 250))
            await rig.until(lambda: sum(one.count for one in rig.results) == 1_000)
            stories = [story for one in rig.results for story in one.stories]
            assert {story.digest.encode() for story in stories} == {DIGEST}
            offsets = np.arange(1_000, dtype="u8")
            wanted = int(mirrored(source(TOPIC, 1), offsets, 0.25).sum())
            assert +await compared(rig, wanted) == {"compared": wanted, "rows": wanted}

    asyncio.run(scenario())


def test_shadow_that_raises_or_takes_memory_has_errors_and_no_other_effect(folder: Path) -> None:
    async def scenario() -> None:
        async with rig_of(folder) as rig:
            marks = [RAISE if at % 20 == 0 else TOO_BIG if at % 20 == 7 else 0 for at in range(200)]
            rig.pool.submit(work([request((mark, at)) for at, mark in enumerate(marks)]))
            await rig.answered(200)
            assert {rig.code(at) for at in range(200)} == {"ok"}
            found = await compared(rig, 200)
            assert found["disagreed"] == found["errors"] == 20
            assert (rig.deaths, rig.suspects, rig.pool.dropped_shadows) == ([], [], frozenset())

    asyncio.run(scenario())


def test_live_requests_go_first_and_what_has_no_room_is_dropped(tmp_path: Path) -> None:
    for version in (LIVE, SHADOW):
        write_hostile(tmp_path, version=version, max_batch_size=1)

    async def scenario() -> None:
        async with rig_of(tmp_path, shadows=ShadowsSettings(backlog_rows=30)) as rig:
            for start in (0, 40):
                values = [request((SLEEP, at)) for at in range(40)]
                rig.pool.submit(work(values, start=start))
                await rig.answered(start + 40)
            assert seen(rig.reports)["compared"] < 10, "one by one live requests went before it"
            await rig.until(lambda: seen(rig.reports)["dropped"] >= 40)

    asyncio.run(scenario())


@pytest.mark.parametrize(("deeds", "reason"), [((ABORT, LOST), "crashed"), ((HANG, HANG), "hung")])
def test_shadow_that_ends_executors_accuses_nobody_and_is_dropped(
    folder: Path, deeds: Sequence[int], reason: str
) -> None:
    async def scenario() -> None:
        async with rig_of(folder, run_timeout_ms=700) as rig:
            for turn, deed in enumerate(deeds):
                values = [request((deed if at == 7 else 0, at)) for at in range(50)]
                rig.pool.submit(work(values, start=100 * turn))
                await rig.until(partial(died, rig, turn + 1))
                rig.pool.submit(work(values[:5], lane=2, start=100 * turn))
                await rig.answered(55 * (turn + 1))
            assert rig.deaths == [reason, reason]
            assert rig.pool.dropped_shadows == {f"hostile/{SHADOW}"}
            rig.reports.clear()
            rig.pool.submit(work([request((deeds[0], at)) for at in range(50)], start=500))
            await rig.answered(160)
            assert set(rig.codes.values()) == {0}
            assert (rig.suspects, len(rig.deaths), +seen(rig.reports)) == ([], 2, {})

    asyncio.run(scenario())


def test_shadows_are_the_first_to_go_where_memory_runs_out(folder: Path) -> None:
    async def scenario() -> None:
        async with rig_of(folder) as rig:
            for turn in range(2):
                assert not rig.pool.dropped_shadows
                rig.pool.submit(work([request((hostile.STARVE, 1))], start=turn))
                await rig.until(partial(died, rig, turn + 1))
            assert rig.deaths == ["out_of_memory", "out_of_memory"]
            assert rig.pool.dropped_shadows == {f"hostile/{SHADOW}"}
            rig.pool.mirror({})
            assert not rig.pool.dropped_shadows, "whoever deploys it anew may try again"

    asyncio.run(scenario())


def test_shadows_come_and_go_at_a_word(folder: Path) -> None:
    async def scenario() -> None:
        async with rig_of(folder) as rig:
            rig.pool.mirror({})
            rig.pool.submit(work([request((DIFFERS, at)) for at in range(20)]))
            await rig.answered(20)
            rig.pool.mirror({"hostile": Shadow(SHADOW)})
            rig.pool.submit(work([request((DIFFERS, at)) for at in range(30)], start=20))
            assert (await compared(rig, 30))["disagreed"] == 30
            rig.pool.direct({"hostile": {SHADOW: 1.0}})
            rig.pool.submit(work([request((0, at)) for at in range(10)], start=50))
            await rig.answered(60)
            assert rig.headers(55)["chimera-model-digest"] == b"2" * 64
            assert seen(rig.reports)["compared"] == 30, "what answers shadows nobody"

    asyncio.run(scenario())


def test_successors_shadow_what_is_ordered(folder: Path) -> None:
    write_hostile(folder, version="3")

    async def scenario() -> None:
        async with rig_of(folder) as rig:
            more = Placement("hostile", "3", "3" * 64, str(folder / "hostile" / "3"))
            assert await rig.pool.hold([*orders(folder).placements, more]) == ()
            rig.pool.submit(work([request((DIFFERS, at)) for at in range(20)]))
            assert (await compared(rig, 20))["disagreed"] == 20

    asyncio.run(scenario())
