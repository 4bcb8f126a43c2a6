"""`chimera witness`: a real one, as its own process, asked over HTTP."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.schemas.transparency import notes, verifier_keys
from chimera.schemas.transparency.checkpoints import log_key
from chimera.schemas.transparency.cosignatures import cosigned_at
from chimera.schemas.transparency.merkle import prove_consistency
from chimera.schemas.transparency.witnessing import Submission
from chimera.stores.witness import hash_of
from tests.schemas.transparency.logs import KEY, ORIGIN, Log, make_log

LOG = make_log(20)
LOG_KEY = log_key(ORIGIN, KEY).text


def variables(folder: Path) -> dict[str, str]:
    return {
        "CHIMERA_WITNESS__NAME": "witness.example/w1",
        "CHIMERA_WITNESS__LOGS": f'["{LOG_KEY}"]',
        "CHIMERA_WITNESS__KEY_FILE": str(folder / "key.pem"),
        "CHIMERA_WITNESS__DATABASE": str(folder / "w.sqlite"),
        "CHIMERA_WITNESS__PORT": "0",
        "CHIMERA_AUDIT__OUTBOX_DIR": str(folder / "outbox"),
    }


class Running:
    """A witness's process; `stop` ends it as an operator would."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chimera.cli", "witness"],
            env={**os.environ, **variables(folder)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.key = verifier_keys.decode(self._process.stdout.readline().split()[1])
        self.url = self._process.stdout.readline().split()[-1]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self._process.send_signal(number)
        with self._process:
            return self._process.wait(30)

    def call(self, path: str, body: bytes | None = None) -> tuple[int, str, bytes]:
        """Status, content type, body."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", body, timeout=30) as answer:
                return answer.status, answer.headers.get_content_type(), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers.get_content_type(), error.read()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = CliRunner().invoke(app, ["witness", "--make-key"], env=variables(tmp_path))
    assert made.exit_code == 0, made.output
    assert (tmp_path / "key.pub").read_text() == made.stdout
    return tmp_path


@pytest.fixture
def running(folder: Path) -> Iterator[Running]:
    started = Running(folder)
    yield started
    assert started.stop() == 0


def ask(old: int, new: int, log: Log = LOG) -> bytes:
    proof = prove_consistency(log.leaf_hashes[:new], old)
    return Submission(old, tuple(proof), log.note(new), log.head(new)).encode()


def test_witness_cosigns_what_extends_and_answers_the_rest(running: Running) -> None:
    status, _, line = running.call("/add-checkpoint", ask(0, 7))
    assert status == 200
    note = notes.decode(LOG.note(7).encode() + line)
    assert cosigned_at(note, running.key)

    assert running.call("/add-checkpoint", ask(0, 9)) == (409, "text/x.tlog.size", b"7\n")
    fork = Log([b"{}"] * 20)
    assert running.call("/add-checkpoint", ask(7, 9, fork))[0] == 422
    assert running.call("/add-checkpoint", b"no request")[0] == 400
    assert running.call("/add-checkpoint", b"x" * 1_000_000)[0] == 413
    other = ask(7, 9).replace(ORIGIN.encode(), b"example.com/other")
    assert running.call("/add-checkpoint", other)[0] == 404
    assert running.call("/add-checkpoint", ask(7, 9).replace(b"\n9\n", b"\n8\n"))[0] == 403
    assert running.call("/add-checkpoint")[0] == 405

    path = f"/{hash_of(ORIGIN)}/checkpoint"
    assert running.call(path) == (200, "text/plain", note.encode())
    assert running.call(f"/{'0' * 64}/checkpoint")[0] == 404


def test_witness_that_is_killed_remembers(folder: Path) -> None:
    first = Running(folder)
    assert first.call("/add-checkpoint", ask(0, 7))[0] == 200
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    second = Running(folder)
    try:
        assert second.key == first.key
        assert second.call("/add-checkpoint", ask(0, 7))[0] == 409
        assert second.call("/add-checkpoint", ask(7, 9))[0] == 200
    finally:
        assert second.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"CHIMERA_WITNESS__NAME": "a b"}, "CHIMERA_WITNESS__NAME"),
        ({"CHIMERA_WITNESS__LOGS": '["x"]'}, "CHIMERA_WITNESS__LOGS"),
        ({"CHIMERA_WITNESS__KEY_FILE": "nothing.pem"}, "--make-key"),
        ({"CHIMERA_WITNESS__KEY": "secret"}, "CHIMERA_WITNESS__KEY"),
    ],
)
def test_witness_with_a_wrong_setting_does_not_start(
    folder: Path, changed: dict[str, str], names: str
) -> None:
    result = CliRunner().invoke(app, ["witness"], env=variables(folder) | changed)
    assert result.exit_code == 1
    assert names in result.stderr
    assert "secret" not in result.output


def test_key_is_made_once(folder: Path) -> None:
    result = CliRunner().invoke(app, ["witness", "--make-key"], env=variables(folder))
    assert result.exit_code == 1
    assert "never overwritten" in result.stderr
