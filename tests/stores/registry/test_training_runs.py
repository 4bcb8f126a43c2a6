"""Runs in the registry: claimed by one, held by whoever claimed last, ended once."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import pytest

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.errors import TrainingRefused
from chimera.stores.registry import training_runs
from chimera.stores.registry.training_runs import Ending, NewRun, TrainingRun
from tests.stores.places import opened
from tests.workers.training.test_history import MANIFEST

if TYPE_CHECKING:
    from chimera.stores.postgres import Connection

FINISHED = Ending(state="finished", manifest=MANIFEST, stage="register")


def new_run(priority: int = 5) -> NewRun:
    name = uuid.uuid4().hex
    return NewRun(
        run_id=f"digits-{name}",
        trigger_id=name,
        trigger='{"a":1}',
        model="digits",
        actor="ada",
        reason="manual",
        priority=priority,
        config="{}",
        until="registered",
    )


def play(
    server: EmbeddedPostgres, work: "Callable[[Connection, uuid.UUID], Awaitable[None]]"
) -> None:
    """In one transaction of a tenant of its own."""

    async def run() -> None:
        async with opened(server) as place, place.database.tenant(place.tenant.id) as connection:
            await work(connection, place.tenant.id)

    asyncio.run(run())


async def claimed(connection: "Connection", lease_s: float = 60) -> TrainingRun:
    found = await training_runs.claim(connection, "us", lease_s, "cpu")
    assert found is not None
    return found


def test_order_stands_there_once_and_another_under_its_id_is_refused(
    server: EmbeddedPostgres,
) -> None:
    async def work(connection: "Connection", tenant_id: uuid.UUID) -> None:
        run = new_run()
        assert await training_runs.add(connection, tenant_id, run)
        assert not await training_runs.add(connection, tenant_id, run)
        with pytest.raises(TrainingRefused, match="another run"):
            other = msgspec.structs.replace(run, trigger="{}")
            await training_runs.add(connection, tenant_id, other)
        (found,) = await training_runs.newest(connection)
        assert (found.run_id, found.state, found.attempt) == (run.run_id, "queued", 0)

    play(server, work)


def test_runs_are_claimed_by_priority_then_time_and_each_once(server: EmbeddedPostgres) -> None:
    async def work(connection: "Connection", tenant_id: uuid.UUID) -> None:
        runs = [new_run(priority) for priority in (5, 1, 5, 9)]
        for run in runs:
            await training_runs.add(connection, tenant_id, run)
        order = [(await claimed(connection)).run_id for _ in runs]
        assert order == [runs[at].run_id for at in (1, 0, 2, 3)]
        assert await training_runs.claim(connection, "us", 60, "cpu") is None
        assert await training_runs.waiting(connection) is None

    play(server, work)


def test_whoever_lost_a_lease_changes_nothing(server: EmbeddedPostgres) -> None:
    async def work(connection: "Connection", tenant_id: uuid.UUID) -> None:
        await training_runs.add(connection, tenant_id, new_run())
        first = await claimed(connection, lease_s=-1)
        second = await claimed(connection)
        assert (first.run_id, first.attempt, second.attempt) == (second.run_id, 1, 2)
        assert await training_runs.beat(connection, first, 60, None, 0) is None
        assert not await training_runs.end(connection, first, FINISHED)
        assert not await training_runs.give_back(connection, first, 0)
        assert await training_runs.beat(connection, second, 60, "{}", 0) == ""
        assert await training_runs.end(connection, second, FINISHED)
        assert not await training_runs.end(connection, second, FINISHED)
        found = await training_runs.find(connection, second.run_id)
        assert found is not None
        assert (found.state, found.manifest, found.progress) == ("finished", MANIFEST, "{}")

    play(server, work)


def test_run_that_is_given_back_keeps_its_place_and_its_count(server: EmbeddedPostgres) -> None:
    async def work(connection: "Connection", tenant_id: uuid.UUID) -> None:
        first, second = new_run(), new_run()
        for run in (first, second):
            await training_runs.add(connection, tenant_id, run)
        assert await training_runs.give_back(connection, await claimed(connection), 2)
        again = await claimed(connection)
        assert (again.run_id, again.attempt, again.fruitless) == (first.run_id, 2, 2)

    play(server, work)


def test_run_is_cancelled_and_resumed_once_for_each_trigger(server: EmbeddedPostgres) -> None:
    async def work(connection: "Connection", tenant_id: uuid.UUID) -> None:
        run = new_run()
        await training_runs.add(connection, tenant_id, run)
        held = await claimed(connection)
        asked = await training_runs.cancel(connection, run.run_id, "eve", "c-1")
        assert asked is not None
        assert (asked.state, asked.cancelled_by) == ("running", "eve")
        assert await training_runs.cancel(connection, run.run_id, "eve", "c-1") is None
        assert await training_runs.beat(connection, held, 60, None, 0) == "eve"
        with pytest.raises(TrainingRefused, match="is running"):
            await training_runs.resume(connection, run.run_id, "r-1")
        assert await training_runs.end(connection, held, Ending(state="cancelled"))
        again = await training_runs.resume(connection, run.run_id, "r-2")
        assert again is not None
        assert (again.state, again.cancelled_by) == ("queued", None)
        assert await training_runs.resume(connection, run.run_id, "r-2") is None
        with pytest.raises(TrainingRefused, match="there is no run x"):
            await training_runs.cancel(connection, "x", "eve", "c-2")

    play(server, work)


def test_trigger_that_comes_again_after_others_changes_nothing(server: EmbeddedPostgres) -> None:
    async def work(connection: "Connection", tenant_id: uuid.UUID) -> None:
        cancel, resume = training_runs.cancel, training_runs.resume
        run = new_run()
        await training_runs.add(connection, tenant_id, run)
        assert await cancel(connection, run.run_id, "eve", "c-1") is not None
        assert await resume(connection, run.run_id, "r-1") is not None
        assert await cancel(connection, run.run_id, "eve", "c-1") is None
        assert await resume(connection, run.run_id, "r-1") is None
        found = await training_runs.find(connection, run.run_id)
        assert found is not None
        assert (found.state, found.cancelled_by) == ("queued", None)
        with pytest.raises(TrainingRefused, match=f"c-1 was to cancel run {run.run_id} before"):
            await resume(connection, run.run_id, "c-1")

    play(server, work)


def test_release_takes_each_step_once_and_is_resumed_where_it_was_withheld(
    server: EmbeddedPostgres,
) -> None:
    async def work(connection: "Connection", tenant_id: uuid.UUID) -> None:
        run = new_run()
        await training_runs.add(connection, tenant_id, run)
        await training_runs.end(connection, await claimed(connection), FINISHED)
        with pytest.raises(TrainingRefused, match="is finished"):
            await training_runs.resume(connection, run.run_id, "r-1")
        advance = training_runs.advance
        assert not await advance(connection, run.run_id, "compile", "promote")
        assert await advance(connection, run.run_id, "register", "compile")
        assert not await advance(connection, run.run_id, "register", "compile")
        assert await advance(connection, run.run_id, "compile", "withheld", "no tier")
        again = await training_runs.resume(connection, run.run_id, "r-2")
        assert again is not None
        assert (again.state, again.stage) == ("queued", None)

    play(server, work)
