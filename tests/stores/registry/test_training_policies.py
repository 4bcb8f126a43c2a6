"""Policies in the registry: set and removed once for each trigger, due when they should be, fired once."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs
from msgspec.structs import replace

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.errors import TrainingRefused
from chimera.stores.registry import training_policies
from chimera.stores.registry.training_policies import Firing, NewPolicy, TrainingPolicy, firing
from tests.stores.places import opened

if TYPE_CHECKING:
    from chimera.stores.postgres import Connection

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR_S = 3_600
NIGHTLY = NewPolicy(
    name="nightly",
    trigger_id="t-1",
    trigger='{"a":1}',
    model="digits",
    actor="ada",
    cause="schedule",
    interval_s=6 * HOUR_S,
)
DRIFTED = replace(NIGHTLY, name="drifted", trigger_id="t-2", cause="drift", interval_s=HOUR_S)


def kept(due_at: datetime | None, **fields: Any) -> TrainingPolicy:
    rest: dict[str, Any] = {
        **structs.asdict(NIGHTLY),
        "set_at": NOW,
        "alert": None,
        "fired_at": None,
        "firings": 0,
        "last_trigger_id": None,
    }
    return TrainingPolicy(due_at=due_at, **{**rest, **fields})


@pytest.mark.parametrize(
    ("late_h", "occasion_h", "next_h"), [(0, 0, 6), (5, 0, 6), (6, 6, 12), (80, 78, 84)]
)
def test_time_that_was_missed_fires_once_and_the_next_stays_in_step(
    late_h: int, occasion_h: int, next_h: int
) -> None:
    found = firing(kept(NOW), NOW + timedelta(hours=late_h))
    assert found is not None
    assert datetime.fromisoformat(found.occasion) == NOW + timedelta(hours=occasion_h)
    assert found.next_due == NOW + timedelta(hours=next_h)


def test_what_is_not_due_does_not_fire() -> None:
    assert firing(kept(NOW), NOW - timedelta(microseconds=1)) is None
    assert firing(kept(None, cause="drift"), NOW) is None


def test_drift_fires_for_the_run_that_found_it() -> None:
    found = firing(kept(NOW, cause="drift", alert="digits-0f"), NOW + timedelta(days=9))
    assert found == Firing("digits-0f", None)


def play(
    server: EmbeddedPostgres, work: "Callable[[Connection, uuid.UUID], Awaitable[None]]"
) -> None:
    """In one transaction of a tenant of its own."""

    async def run() -> None:
        async with opened(server) as place, place.database.tenant(place.tenant.id) as connection:
            await work(connection, place.tenant.id)

    asyncio.run(run())


async def one(connection: "Connection", name: str) -> TrainingPolicy:
    found = await training_policies.find(connection, name)
    assert found is not None
    return found


def test_policy_is_set_anew_and_removed_once_for_each_trigger(server: EmbeddedPostgres) -> None:
    async def work(connection: "Connection", tenant_id: uuid.UUID) -> None:
        put, remove = training_policies.put, training_policies.remove
        other = replace(NIGHTLY, trigger_id="t-3", interval_s=60)
        assert await put(connection, tenant_id, NIGHTLY)
        assert await put(connection, tenant_id, other)
        assert not await put(connection, tenant_id, NIGHTLY)  # it comes again, and is over
        assert (await one(connection, "nightly")).interval_s == 60
        with pytest.raises(TrainingRefused, match="another policy"):
            await put(connection, tenant_id, replace(NIGHTLY, trigger="{}"))
        removed = await remove(connection, "nightly", "eve", "r-1")
        assert removed is not None
        assert removed.trigger_id == "t-3"
        assert await remove(connection, "nightly", "eve", "r-1") is None
        with pytest.raises(TrainingRefused, match="there is no policy nightly"):
            await remove(connection, "nightly", "eve", "r-2")
        assert not await put(connection, tenant_id, other)
        assert await training_policies.every(connection) == []

    play(server, work)


def test_policy_by_the_clock_is_due_an_interval_from_now_and_fires_once(
    server: EmbeddedPostgres,
) -> None:
    async def work(connection: "Connection", tenant_id: uuid.UUID) -> None:
        await training_policies.put(connection, tenant_id, NIGHTLY)
        policy = await one(connection, "nightly")
        assert policy.due_at is not None
        until = policy.due_at - policy.set_at
        assert abs(until - timedelta(seconds=policy.interval_s)) < timedelta(seconds=1)
        assert await training_policies.due(connection, policy.set_at) == []
        assert await training_policies.due(connection, policy.due_at) == [policy]
        found = firing(policy, policy.due_at)
        assert found is not None
        assert await training_policies.fired(connection, policy, found, "f-1")
        assert not await training_policies.fired(connection, policy, found, "f-1")
        after = await one(connection, "nightly")
        assert (after.due_at, after.firings, after.last_trigger_id) == (found.next_due, 1, "f-1")

    play(server, work)


def test_drift_is_an_alert_for_its_model_and_the_next_waits_for_the_cool_down(
    server: EmbeddedPostgres,
) -> None:
    async def work(connection: "Connection", tenant_id: uuid.UUID) -> None:
        alert = training_policies.alert
        for policy in (NIGHTLY, DRIFTED):
            await training_policies.put(connection, tenant_id, policy)
        await alert(connection, "letters", "letters-1")
        assert (await one(connection, "drifted")).due_at is None
        for run_id in ("digits-1", "digits-2"):
            await alert(connection, "digits", run_id)
        first = await one(connection, "drifted")
        assert first.alert == "digits-1"  # the second is the same drift
        assert (await one(connection, "nightly")).alert is None
        assert first.due_at is not None
        found = firing(first, first.due_at)
        assert found is not None
        assert await training_policies.fired(connection, first, found, "f-1")
        await alert(connection, "digits", "digits-1")  # a resumed run finds it again
        assert (await one(connection, "drifted")).due_at is None
        await alert(connection, "digits", "digits-3")
        later = await one(connection, "drifted")
        assert later.due_at is not None and later.fired_at is not None
        assert later.due_at - later.fired_at == timedelta(seconds=HOUR_S)

    play(server, work)


def test_served_rows_that_differ_from_a_run_alert_one_policy_once_for_it(
    server: EmbeddedPostgres,
) -> None:
    async def work(connection: "Connection", tenant_id: uuid.UUID) -> None:
        other = replace(DRIFTED, name="other", trigger_id="t-4")
        for policy in (NIGHTLY, DRIFTED, other):
            await training_policies.put(connection, tenant_id, policy)
        assert [one.name for one in await training_policies.watching(connection)] == [
            "drifted",
            "other",
        ]
        first = await one(connection, "drifted")
        assert await training_policies.alert_served(connection, first, "digits-1")
        assert not await training_policies.alert_served(connection, first, "digits-1")
        assert [one.name for one in await training_policies.watching(connection)] == ["other"]
        due = await one(connection, "drifted")
        assert due.due_at is not None
        found = firing(due, due.due_at)
        assert found is not None
        assert found == Firing("served:digits-1", None)
        assert await training_policies.fired(connection, due, found, "f-1")
        assert not await training_policies.alert_served(connection, due, "digits-1")
        assert await training_policies.alert_served(connection, due, "digits-2")
        assert not await training_policies.alert_served(connection, await ended(connection), "x")

    async def ended(connection: "Connection") -> TrainingPolicy:
        found = await training_policies.remove(connection, "other", "eve", "r-9")
        assert found is not None
        return found

    play(server, work)
