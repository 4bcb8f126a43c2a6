"""Versions are picked by identity: the same again, whatever the request came in."""

import asyncio
from collections import Counter
from pathlib import Path

from chimera.schemas.placements import Orders, Placement, Traffic
from chimera.workers.models import write_model
from chimera.workers.picking import Picks
from chimera.workers.repertoire import Repertoire
from chimera.workers.splits import Split
from tests.workers.fakes import served
from tests.workers.rig import REAL, TOPIC, Rig, block, manifest, request, sums, work

HALVES: Traffic = {"hostile": {"1": 1.0, "2": 1.0}}
OFFSETS = range(40, 240)


def repertoire(traffic: Traffic) -> Repertoire:
    made = Repertoire([served(), served(version="2")])
    made.direct(traffic)
    return made


def expected() -> list[str]:
    split = Split(HALVES["hostile"])
    return [split.pick(TOPIC, 1, offset) for offset in OFFSETS]


def test_requests_of_a_split_model_are_divided_by_their_offsets() -> None:
    given = work([b""] * len(OFFSETS), start=OFFSETS.start)
    picks = Picks(repertoire(HALVES), given)
    found = [picks.version("hostile", None, index) for index in range(len(OFFSETS))]
    assert found == expected()
    assert set(found) == {"1", "2"}


def test_request_that_wants_a_version_gets_it() -> None:
    picks = Picks(repertoire(HALVES), work([b""]))
    assert picks.version("hostile", "2", 0) == "2"
    assert list(picks.parts("hostile", "1")) == [("1", None)]


def test_model_with_one_version_is_not_divided() -> None:
    picks = Picks(repertoire({"hostile": {"1": 3.0, "2": 0.0}}), work([b""]))
    assert picks.version("hostile", None, 0) is None
    assert list(picks.parts("hostile", None)) == [(None, None)]


def test_retry_goes_where_its_first_record_went() -> None:
    extras = {at: {"origin": f"{TOPIC}:1:{offset}"} for at, offset in enumerate(OFFSETS)}
    picks = Picks(repertoire(HALVES), work([b""] * len(OFFSETS), lane=9, extras=extras))
    assert [picks.version("hostile", None, at) for at in range(len(OFFSETS))] == expected()


def test_parts_of_a_block_are_all_of_it_once() -> None:
    given = work([b""] * len(OFFSETS), start=OFFSETS.start)
    found = [""] * len(OFFSETS)
    for version, places in Picks(repertoire(HALVES), given).parts("hostile", None):
        assert version is not None and places is not None
        for place in places.tolist():
            assert not found[place]
            found[place] = version
    assert found == expected()


def test_block_of_a_split_model_is_answered_as_one_in_its_order(tmp_path: Path) -> None:
    placements = [
        Placement("sums", version, version * 64, str(write_model(tmp_path, sums(), of)))
        for version in ("1", "2")
        for of in [manifest("sums", version)]
    ]
    values = [request((at, 2), "sums", id=f"r{at}") for at in range(200)]

    async def scenario() -> None:
        async with Rig(
            tmp_path, REAL, orders=Orders(tuple(placements), {"sums": {"1": 3.0, "2": 1.0}})
        ) as rig:
            rig.pool.submit_block(block(values, start=1_000))
            await rig.until(lambda: bool(rig.results))
            (results,) = rig.results
            assert results.count == 200
            rig.pool.submit(work(values, start=1_000))
            await rig.answered(200)
        assert [rig.number(1_000 + at) for at in range(200)] == [at + 2 for at in range(200)]
        told = Counter(rig.value(1_000 + at)["model_version"] for at in range(200))
        rows = Counter({story.version: story.size for story in results.stories})
        assert told == rows and 30 <= told["2"] <= 70
        for at in range(200):
            version = rig.value(1_000 + at)["model_version"]
            assert rig.headers(1_000 + at)["chimera-model-digest"] == version.encode() * 64

    asyncio.run(scenario())
