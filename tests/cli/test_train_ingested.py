"""From what was served to a run that has learnt from it, as people type it: ingest, submit, finished."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.cli.stack.child import Child
from chimera.schemas.model_settings import KeysSettings
from chimera.schemas.settings import load
from chimera.stores import keys
from chimera.topics.catalogue import catalogue
from tests.agents.replaying.past import Past
from tests.cli.ingesting.test_ingestion import label, say, serve
from tests.cli.places import Place

pytestmark = pytest.mark.timeout(300)  # an agent, and a trainer that loads torch, on a busy machine

ROWS = 40
ORDER = """
name: MODEL
task: regression
data:
  sources: ["samples/model=sums/**/*.parquet"]
  schema: {features: [input_x], target: label}
model: {definition: "torch.nn:Linear", arguments: {in_features: 2, out_features: 1}}
loss: {name: mse}
loop: {epochs: 1, threads: 1}
release: {input: x}
"""


@pytest.fixture
def folder(
    place: Place, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Of a place with a training agent that may read what is below it."""
    signing = place.folder / "signing.pem"
    keys.create(KeysSettings(signing_file=signing))
    environment = {
        **place.environment,
        "CHIMERA_POSTGRES__DSN": server.dsn,
        "CHIMERA_KEYS__SIGNING_FILE": str(signing),
        "CHIMERA_ARTIFACTS__URL": str(place.folder / "artifacts"),
        "CHIMERA_ARTIFACTS__DEFINITIONS": '["torch.nn:Linear"]',
        "CHIMERA_INGEST__DIR": str(place.folder / "samples"),
        "CHIMERA_TRAINER__NICE": "0",
        "CHIMERA_TRAINER__POLL_MS": "30",
        "CHIMERA_TRAINER__QUEUE_MS": "30",
        "CHIMERA_TRAINER__TELL_S": "0.1",
        "CHIMERA_TRAINING__ALLOWED": '["torch.nn:Linear"]',
        "CHIMERA_TRAINING__DIR": str(place.folder / "runs"),
        "CHIMERA_TRAINING__SOURCES": json.dumps([f"file://{place.folder}/"]),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    log_file = place.folder / "trainer.log"
    command = [sys.executable, "-m", "chimera.cli", "trainer"]
    child = Child(command, log_file=log_file, environment=environment)
    yield place.folder
    assert child.stop(30) == 0, log_file.read_text()[-2000:]


def chimera(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (arguments, done.output)
    return done.output


async def served(folder: Path) -> None:
    """Requests, what they were answered, and what was right: y = x0 + x1."""
    settings = load()
    at = Past(settings, catalogue(settings), folder)
    ids = await serve(at, ROWS)
    await say(at, *(label(id, number + 1.0) for number, id in enumerate(ids)))


def test_what_was_served_is_ingested_and_trained_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(served(folder))
    assert f"joined {ROWS}" in chimera("ingest")
    model = f"sums-{time.time_ns()}"
    (folder / "order.yaml").write_text(ORDER.replace("MODEL", model))
    chimera("train", "allow", "--train")
    submitted = chimera("train", "submit", str(folder / "order.yaml"), "--timeout", "100")
    run_id = submitted.split()[1]
    while "finished" not in (shown := chimera("train", "show", run_id)):
        assert "failed" not in shown, shown
        time.sleep(0.1)
    manifest = json.loads(chimera("train", "manifest", run_id, "--signed").splitlines()[-1])
    assert sum(manifest["rows"][side] for side in ("train", "validation")) == ROWS
    assert manifest["version"] == run_id
    monkeypatch.setenv("CHIMERA_TRAINING__DIR", str(folder / "elsewhere"))
    board = ("train", "leaderboard", "--name", model)
    assert f"1 {run_id}" in chimera(*board)  # as the registry has it
    elsewhere = chimera("train", "manifest", run_id, "--signed")
    assert "its weights are not on this machine" in elsewhere
    assert json.loads(elsewhere.splitlines()[-1]) == manifest
    compared = chimera("train", "compare", run_id, run_id)
    assert "both were ordered alike" in compared
    assert "eval_mse" in compared
    (loss, *_) = [line for line in compared.splitlines() if line.startswith("loss ")]
    assert loss.split()[1] == run_id
