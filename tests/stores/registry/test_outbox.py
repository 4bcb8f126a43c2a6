"""The outbox: oldest first, until it is deleted; a kill in between sends again and loses nothing."""

import asyncio

import pytest
from asyncpg import InsufficientPrivilegeError

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.stores.registry import outbox
from chimera.stores.registry.outbox import Outbox
from chimera.stores.registry.records import OutboxRecord
from tests.stores.places import Place, opened


async def write(place: Place, *values: bytes) -> None:
    async with place.database.tenant(place.tenant.id) as connection:
        for value in values:
            await outbox.add(
                connection, place.tenant.id, "models.state", b"key", value, {"a": "1", "b": "2"}
            )


async def pending(place: Place) -> list[OutboxRecord]:
    values = await Outbox(place.database).pending(10_000)
    return [one for one in values if one.key == b"key"]


def test_records_are_pending_in_order_until_they_are_deleted(server: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with opened(server) as place:
            box = Outbox(place.database)
            await box.forget([one.id for one in await pending(place)])
            await write(place, b"one", b"two", b"three")
            found = await pending(place)
            assert [one.value for one in found] == [b"one", b"two", b"three"]
            assert found[0].headers == (("a", "1"), ("b", "2"))
            await box.forget([found[0].id, found[2].id])
            assert [one.value for one in await pending(place)] == [b"two"]
            await box.forget([one.id for one in found])
            assert await pending(place) == []

    asyncio.run(run())


def test_pending_gives_no_more_than_asked(server: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with opened(server) as place:
            await write(place, b"one", b"two")
            assert len(await Outbox(place.database).pending(1)) == 1

    asyncio.run(run())


def test_a_record_of_a_transaction_that_failed_is_never_pending(server: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with opened(server) as place:
            with pytest.raises(ZeroDivisionError):
                async with place.database.tenant(place.tenant.id) as connection:
                    await outbox.add(connection, place.tenant.id, "models.state", b"half", b"")
                    raise ZeroDivisionError
            everything = await Outbox(place.database).pending(10_000)
            assert b"half" not in {one.key for one in everything}

    asyncio.run(run())


@pytest.mark.parametrize("column", ["value = ''", "topic = 'other'", "tenant_id = tenant_id"])
def test_a_record_is_never_changed(server: EmbeddedPostgres, column: str) -> None:
    async def run() -> None:
        async with opened(server) as place:
            with pytest.raises(InsufficientPrivilegeError, match="permission denied"):
                async with place.database.platform() as connection:
                    await connection.execute(f"UPDATE outbox SET {column}")

    asyncio.run(run())
