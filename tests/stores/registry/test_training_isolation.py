"""Training runs of one tenant: another one neither sees nor changes them, by whatever function."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.errors import TrainingRefused
from chimera.stores.registry import training_runs
from chimera.stores.registry.training_runs import Ending, TrainingRun
from tests.stores.places import opened
from tests.stores.registry.test_training_runs import FINISHED, claimed, new_run

if TYPE_CHECKING:
    from chimera.stores.postgres import Connection

Call = Callable[["Connection", TrainingRun], Awaitable[Any]]
FAILED = Ending(state="failed", error="it was not theirs")
NOTHING: dict[str, Call] = {
    "find": lambda theirs, run: training_runs.find(theirs, run.run_id),
    "newest": lambda theirs, _: training_runs.newest(theirs),
    "waiting": lambda theirs, _: training_runs.waiting(theirs),
    "first_to_replay": lambda theirs, _: training_runs.first_to_replay(theirs),
    "claim": lambda theirs, _: training_runs.claim(theirs, "them", 60, "cpu"),
    "beat": lambda theirs, run: training_runs.beat(theirs, run, 60, "{}", 0),
    "end": lambda theirs, run: training_runs.end(theirs, run, FAILED),
    "give_back": lambda theirs, run: training_runs.give_back(theirs, run, 0),
    "advance": lambda theirs, run: training_runs.advance(theirs, run.run_id, "register", "compile"),
}
NO_RUN: dict[str, Call] = {
    "cancel": lambda theirs, run: training_runs.cancel(theirs, run.run_id, "them", "t"),
    "resume": lambda theirs, run: training_runs.resume(theirs, run.run_id, "t"),
}
OF_ONES_OWN = {"add"}  # `test_isolation.py`


def test_each_function_is_tried_as_another_tenant() -> None:
    functions = inspect.getmembers(training_runs, inspect.iscoroutinefunction)
    assert {name for name, _ in functions if not name.startswith("_")} == {
        *NOTHING,
        *NO_RUN,
        *OF_ONES_OWN,
    }


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("call", [*NOTHING, *NO_RUN])
def test_a_run_is_nobody_elses(server: EmbeddedPostgres, call: str, ended: bool) -> None:
    """Not one whose lease has run out, which is anybody's of its tenant, nor one that is over."""

    async def work() -> None:
        async with opened(server) as place:
            async with place.database.tenant(place.tenant.id) as connection:
                await training_runs.add(connection, place.tenant.id, new_run())
                run = await claimed(connection, lease_s=0)
                if ended:
                    assert await training_runs.end(connection, run, FINISHED)
                before = await training_runs.find(connection, run.run_id)
            stranger = await place.another()
            async with stranger.database.tenant(stranger.tenant.id) as theirs:
                if call in NOTHING:
                    assert not await NOTHING[call](theirs, run)
                else:
                    with pytest.raises(TrainingRefused, match="there is no run"):
                        await NO_RUN[call](theirs, run)
            async with place.database.tenant(place.tenant.id) as connection:
                assert await training_runs.find(connection, run.run_id) == before

    asyncio.run(work())
