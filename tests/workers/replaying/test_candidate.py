"""A candidate in a real executor: it raises, crashes, hangs, and is no version at all."""

import asyncio
from pathlib import Path

import pytest

from chimera.schemas.errors import ModelRefused
from chimera.schemas.placements import Placement
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.settings import Settings
from chimera.workers.replaying import candidate as candidates
from chimera.workers.replaying.candidate import Candidate, GivenUp
from tests.workers.rig import HOSTILE, request, work, write_hostile

FINE, ABORT, HANG, RAISE, TOO_BIG = range(5)


def candidate(folder: Path, **serving: int) -> Candidate:
    placement = Placement("hostile", "1", "c" * 64, str(folder / "hostile" / "1"))
    limits = ServingSettings(devices=("cpu",)).model_copy(update=serving)
    return Candidate(Settings(serving=limits), placement, entry=HOSTILE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_hostile(tmp_path)
    return tmp_path


def test_every_request_gets_an_outcome_and_only_the_guilty_an_error(folder: Path) -> None:
    guilty = {
        3: (ABORT, "worker_crashed"),
        40: (RAISE, "model_error"),
        41: (TOO_BIG, "out_of_memory"),
    }

    async def scenario() -> None:
        async with candidate(folder) as found:
            values = [request((guilty.get(at, (FINE,))[0], at)) for at in range(60)]
            values[50] = b"no request"
            outcomes = await found.answer(work(values))
            codes = {at: one.code for at, one in enumerate(outcomes) if one.code}
            assert codes == {50: "malformed", **{at: code for at, (_, code) in guilty.items()}}
            fine = outcomes[7]
            assert b'"data":[8.0]' in fine.value.replace(b" ", b"")
            assert (fine.digest, fine.tier, fine.rows > 0) == ("c" * 64, "test", True)
            again = await found.answer(work([request((FINE, 1))], start=60))
            assert [one.code for one in again] == [""]
            assert await found.answer(work([])) == []

    asyncio.run(scenario())


def test_hang_ends_with_its_time_out(folder: Path) -> None:
    async def scenario() -> None:
        async with candidate(folder, run_timeout_ms=500) as found:
            outcomes = await found.answer(work([request((FINE, 0)), request((HANG, 0))]))
            assert [one.code for one in outcomes] == ["", "worker_crashed"]

    asyncio.run(scenario())


def test_candidate_that_ends_its_executors_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "MAX_DEATHS", 3)

    async def scenario() -> None:
        async with candidate(folder) as found:
            with pytest.raises(GivenUp, match="has ended 3 executors: crashed"):
                await found.answer(work([request((ABORT, at)) for at in range(20)]))

    asyncio.run(scenario())


def test_candidate_that_does_not_answer_is_given_up(folder: Path) -> None:
    async def scenario() -> None:
        async with candidate(folder, decide_within_ms=500) as found:
            with pytest.raises(GivenUp, match="not answered for 0.5 s"):
                await found.answer(work([request((HANG, 0))]))

    asyncio.run(scenario())


def test_version_that_is_gone_when_its_executor_is_replaced_is_not_waited_for(folder: Path) -> None:
    async def scenario() -> None:
        async with candidate(folder) as found:
            (folder / "hostile" / "1" / "model.onnx").write_bytes(b"something else")
            outcomes = await found.answer(work([request((ABORT, 0))]))
            assert [one.code for one in outcomes] == ["backend_unavailable"]

    asyncio.run(scenario())


def test_version_that_cannot_be_loaded_says_why(folder: Path) -> None:
    (folder / "hostile" / "1" / "model.onnx").write_bytes(b"something else")

    async def scenario() -> None:
        with pytest.raises(ModelRefused, match="hostile/1"):
            async with candidate(folder):
                pass

    asyncio.run(scenario())
