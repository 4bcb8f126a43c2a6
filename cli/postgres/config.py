"""How the embedded Postgres is configured, and with which secrets it is reached.

Functions of values, and one small file; `postgres.EmbeddedPostgres` runs what they give. Every role
logs in with SCRAM over loopback, nobody is trusted, and the superuser has no password at all: what
needs one is done while the server is not running. `tests/cli/test_postgres_config.py`.
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from chimera.cli.stack.ports import HOST
from chimera.schemas.errors import ConfigurationError

DATABASE = "chimera"
OWNER = "chimera_owner"  # owns the tables; only migrations log in as it
APPLICATION = "chimera_app"  # owns nothing; everything else does

HBA = f"host all all {HOST}/32 scram-sha-256\n"  # the whole of it: what it does not name is refused

ROLES = f"""\
CREATE ROLE {OWNER} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
CREATE ROLE {APPLICATION} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
CREATE DATABASE {DATABASE} OWNER {OWNER};
REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC;
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
REVOKE ALL ON DATABASE template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE {DATABASE} TO {APPLICATION};
"""

# What differs from Postgres' defaults, and why.
_SERVER = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a socket's path may be too long for the kernel
    "password_encryption": "scram-sha-256",
    # a registry is small and idle: few processes, little memory, small segments
    "io_method": "sync",
    "shared_buffers": "32MB",
    "max_wal_size": "128MB",
    "min_wal_size": "16MB",
    # nothing outside the folder, not even after kill -9
    "dynamic_shared_memory_type": "mmap",
    # a client that hangs inside a transaction must not hold its locks for ever
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


def options(port: int, extra: Mapping[str, str]) -> list[str]:
    """Arguments of the server; `extra` is put over our own."""
    values = {**_SERVER, "port": str(port), **extra}
    return [part for name, value in values.items() for part in ("-c", f"{name}={value}")]


@dataclass(frozen=True, slots=True)
class Access:
    """How this folder's server is reached."""

    port: int | None  # None: it was never served
    owner_password: str = field(repr=False)
    application_password: str = field(repr=False)

    @property
    def owner_dsn(self) -> str:
        return self._dsn(OWNER, self.owner_password)

    @property
    def dsn(self) -> str:
        """The application role's."""
        return self._dsn(APPLICATION, self.application_password)

    @property
    def passwords(self) -> str:
        """The statements that make the secrets those of the roles."""
        pairs = ((OWNER, self.owner_password), (APPLICATION, self.application_password))
        return "".join(f"ALTER ROLE {role} PASSWORD '{password}';\n" for role, password in pairs)

    def write(self, folder: Path) -> None:
        """As a whole, and readable by nobody else at any moment."""
        scratch = _file(folder).with_suffix(".new")
        scratch.unlink(missing_ok=True)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        os.replace(scratch, _file(folder))

    def _dsn(self, role: str, password: str) -> str:
        return f"postgresql://{role}:{password}@{HOST}:{self.port}/{DATABASE}"


def new_access() -> Access:
    """Secrets that nobody has: 256 bits each, of letters, digits, - and _."""
    return Access(None, secrets.token_urlsafe(32), secrets.token_urlsafe(32))


def read_access(folder: Path) -> Access | None:
    """What a folder's server is reached with; None: nothing was written there.

    Raises:
        ConfigurationError: the file cannot be read, or is not one of ours.
    """
    try:
        return Access(**json.loads(_file(folder).read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{_file(folder)} cannot be read ({error}); remove it while no stack runs, and the "
            "next start makes new secrets"
        ) from error


def _file(folder: Path) -> Path:
    return folder / "access.json"
