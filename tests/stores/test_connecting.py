"""Trying goes on while a server is away, ends when it is over, and not at all when it is refused."""

import asyncio

import asyncpg
import pytest

from chimera.schemas.errors import ConfigurationError, PostgresUnavailable
from chimera.stores.connecting import is_servers, persist, place, role

DSN = "postgresql://app:very-secret@db.example:5432/chimera"


async def attempt_all(errors: list[Exception], for_s: float = 5) -> int:
    """The count of attempts, the last of which succeeds."""
    attempts = 0

    async def attempt() -> int:
        nonlocal attempts
        attempts += 1
        if errors:
            raise errors.pop(0)
        return attempts

    return await persist(attempt, dsn=DSN, setting="CHIMERA_POSTGRES__DSN", for_s=for_s)


def test_persist_goes_on_over_what_passes() -> None:
    passing: list[Exception] = [
        ConnectionRefusedError("refused"),
        asyncpg.CannotConnectNowError("starting"),
        asyncpg.TooManyConnectionsError("full"),
        TimeoutError(),
    ]
    assert asyncio.run(attempt_all(passing)) == 5


def test_persist_gives_up_and_never_tells_the_password() -> None:
    errors: list[Exception] = [ConnectionRefusedError("refused")] * 1_000
    with pytest.raises(PostgresUnavailable, match="db.example:5432/chimera.*attempts") as caught:
        asyncio.run(attempt_all(errors, for_s=0.3))
    assert "very-secret" not in str(caught.value)
    assert len(errors) < 999


@pytest.mark.parametrize(
    "error", [asyncpg.InvalidPasswordError("no"), asyncpg.InvalidCatalogNameError("none")]
)
def test_persist_asks_once_where_it_is_refused(error: Exception) -> None:
    errors: list[Exception] = [error] * 2
    with pytest.raises(ConfigurationError, match="CHIMERA_POSTGRES__DSN.*db.example"):
        asyncio.run(attempt_all(errors))
    assert len(errors) == 1


def test_persist_does_not_hide_what_is_no_outage() -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        asyncio.run(attempt_all([asyncpg.UndefinedTableError("none")]))


def test_place_and_role_of_a_dsn() -> None:
    assert place(DSN) == "db.example:5432/chimera"
    assert role("postgresql://a%40b:c@h/d", "SETTING") == "a@b"
    with pytest.raises(ConfigurationError, match="SETTING: it names no role"):
        role("postgresql://h/d", "SETTING")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (asyncpg.DeadlockDetectedError("later"), True),
        (asyncpg.DiskFullError("later"), True),
        (asyncpg.UndefinedColumnError("another release's tables"), True),
        (asyncpg.InterfaceError("pool is closing"), True),
        (asyncpg.CharacterNotInRepertoireError("NUL"), False),
        (asyncpg.CheckViolationError("no name"), False),
        (asyncpg.ProgramLimitExceededError("a key too long"), False),
        (ValueError("no error of Postgres"), False),
    ],
)
def test_statement_that_fails_for_its_values_is_not_for_later(
    error: Exception, expected: bool
) -> None:
    assert is_servers(error) is expected
