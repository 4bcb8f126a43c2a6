"""Blocks of stored records in a pool with real executors: results as record batches, or unread."""

import asyncio
import json
from pathlib import Path

from chimera.schemas.headers import header
from chimera.schemas.stored import parse
from chimera.workers.models import write_model
from tests.workers import hostile_executor as hostile
from tests.workers.rig import (
    REAL,
    TOPIC,
    Rig,
    block,
    manifest,
    request,
    sums,
    write_hostile,
)


def test_block_is_answered_as_one_with_record_batches(tmp_path: Path) -> None:
    write_model(tmp_path, sums(), manifest("sums"))

    async def scenario() -> None:
        async with Rig(tmp_path, REAL) as rig:
            values = [request((at, 2), "sums", id=f"r{at}") for at in range(600)]
            rig.pool.submit_block(block(values, start=40))
            rig.pool.submit_block(block([request((7, 2), "sums")] * 3, start=640))
            await rig.until(lambda: len(rig.results) == 2)
            first, second = sorted(rig.results, key=lambda one: one.first)
            assert (first.first, first.next, first.count) == (40, 640, 600)
            assert (second.first, second.next, second.count) == (640, 643, 3)
            assert {story.model for story in first.stories} == {"sums"}
            assert sum(one.is_first for one in (*first.stories, *second.stories)) >= 3
            found = [
                (record.key, json.loads(record.value or b""), dict(record.headers))
                for batch in first.batches
                for record in parse(batch.sent_by(1, 0, 0, transactional=True))
            ]
            for at, (key, value, told) in enumerate(found):
                assert (key, value["id"]) == (b"k%d" % at, f"r{at}")
                assert value["outputs"][0]["data"] == [at + 2.0]
                assert told["chimera-request-offset"] == b"%d" % (40 + at)
                assert told["ce_id"] == f"{TOPIC}:1:{40 + at}:0".encode()
            (other, *_) = parse(second.batches[0].sent_by(1, 0, 0, transactional=True))
            assert json.loads(other.value or b"")["id"] == f"{TOPIC}:1:640"
            assert rig.codes == {}
            assert rig.in_flight() == (0, 0)

    asyncio.run(scenario())


def test_block_in_which_a_request_fails_is_answered_one_by_one(tmp_path: Path) -> None:
    write_model(tmp_path, sums(), manifest("sums", max_batch_size=4))

    async def scenario() -> None:
        async with Rig(tmp_path, REAL) as rig:
            values = [request((at, 2), "sums", id=f"r{at}") for at in range(20)]
            values[13] = b"{no json"
            values[17] = request((1, 2, 3), "sums")
            rig.pool.submit_block(block(values))
            await rig.answered(20)
            assert rig.results == [] and rig.unread == []
            codes = [rig.code(at) for at in range(20)]
            assert (codes[13], codes[17]) == ("malformed", "schema_invalid")
            assert codes.count("ok") == 18
            assert rig.number(19) == 21.0

    asyncio.run(scenario())


def test_block_whose_model_fails_late_gives_up_what_it_had(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=2)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            values = [request((0, at)) for at in range(6)]
            values[4] = request((hostile.RAISE, 1))
            rig.pool.submit_block(block(values))
            await rig.answered(6)
            assert [rig.code(at) for at in range(6)] == ["ok"] * 4 + ["model_error", "ok"]
            assert rig.results == []
            assert rig.in_flight() == (0, 0)

    asyncio.run(scenario())


def test_block_with_headers_comes_back_unread(tmp_path: Path) -> None:
    write_model(tmp_path, sums(), manifest("sums"))

    async def scenario() -> None:
        async with Rig(tmp_path, REAL) as rig:
            odd = block([request((1, 2), "sums")] * 2, encoded=header("chimera-model", b"sums"))
            rig.pool.submit_block(odd)
            await rig.until(lambda: bool(rig.unread))
            assert rig.unread == [(odd, [])]
            assert rig.in_flight() == (0, 0)

    asyncio.run(scenario())


def test_block_of_a_dead_executor_comes_back_with_who_is_accused(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=2)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            values = [request((0, 1))] * 6
            values[3] = request((hostile.ABORT, 1))
            given = block(values, start=10)
            rig.pool.submit_block(given)
            await rig.until(lambda: bool(rig.suspects))
            assert rig.unread == [(given, [12, 13])]
            assert rig.suspects == [(1, [12, 13], "crashed")]

    asyncio.run(scenario())


def test_block_of_a_forgotten_lane_is_not_answered(tmp_path: Path) -> None:
    write_hostile(tmp_path, max_batch_size=1)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            rig.pool.submit_block(block([request((hostile.SLEEP, 1))] + [request((0, 1))] * 3))
            await rig.computing(0)
            rig.pool.forget(1)
            rig.pool.submit_block(block([request((0, 1))] * 3, lane=2))
            await rig.until(lambda: bool(rig.results))
            assert [one.lane for one in rig.results] == [2]

    asyncio.run(scenario())
