"""From `chimera train submit` to `chimera infer`, as people type it: to a node and a training agent."""

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chimera.cli.models.registry import opened
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.cli.stack.child import Child
from chimera.schemas.settings import load
from chimera.stores.registry.records import Version
from chimera.stores.registry.training_runs import TrainingRun
from tests.cli.places import Place
from tests.cli.registered import registered, told, until
from tests.cli.test_train import ORDER

pytestmark = pytest.mark.timeout(700)  # several processes load torch, on a busy machine

RELEASE = "release: {until: compiled, tiers: [onnx-cpu], input: x, outputs: [y], watch: null}\n"
ASKED = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0]}]}


@pytest.fixture
def trained(
    place: Place, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """A place with a node that follows the registry, and a training agent; an order lies there."""
    place = registered(place, server)
    more = {
        "CHIMERA_ARTIFACTS__DEFINITIONS": '["torch.nn:Linear"]',
        "CHIMERA_COMPILING__BATCH_SIZES": "[1]",
        "CHIMERA_CONTROLLER__POLL_MS": "50",
        "CHIMERA_TRAINER__NICE": "0",
        "CHIMERA_TRAINER__POLL_MS": "50",
        "CHIMERA_TRAINER__QUEUE_MS": "100",
        "CHIMERA_TRAINER__TELL_S": "0.1",
        "CHIMERA_TRAINING__ALLOWED": '["torch.nn:Linear"]',
        "CHIMERA_TRAINING__DIR": str(place.folder / "runs"),
    }
    place = replace(place, environment={**place.environment, **more})
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    log_file = place.folder / "trainer.log"
    command = [sys.executable, "-m", "chimera.cli", "trainer"]
    agent = Child(command, log_file=log_file, environment=place.environment)
    node = place.node()
    yield place
    codes = node.stop(30), agent.stop(30)  # both, or whoever comes next has an agent that leads
    assert codes[0] == 0, (place.folder / "node.log").read_text()[-3000:]
    assert codes[1] == 0, log_file.read_text()[-3000:]


def submitted(place: Place, *options: str) -> tuple[str, str]:
    """The run's id, and all that was told of it until it was over."""
    order = str(place.folder / "order.yaml")
    arguments = ("train", "submit", order, "--timeout", "100", "--watch", *options)
    done = place.run(*arguments, within_s=500)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.split()[1], done.stdout


def test_version_of_a_trigger_answers_and_leads_back_to_its_run(trained: Place) -> None:
    model = f"line-{trained.environment['CHIMERA_KAFKA__GROUP']}"
    text = ORDER.replace("name: line", f"name: {model}") + RELEASE
    (trained.folder / "order.yaml").write_text(text)
    told(trained, "train", "allow", "--train", "--promote")
    run_id, story = submitted(trained, "--promote")
    steps = [story.index(one) for one in ("finished", "registered", "compiled", "promoted")]
    assert steps == sorted(steps)

    answer: dict[str, Any] = {}

    def answered() -> bool:
        done = trained.run("infer", model, "--input", "-", text=json.dumps(ASKED))
        answer.update(json.loads(done.stdout or "{}"))
        return bool(answer.get("model_version") == run_id)

    until(answered, trained.folder / "node.log")
    (output,) = answer["outputs"]
    assert (output["name"], output["shape"]) == ("y", [1, 1])

    run, version = asyncio.run(known(model, run_id))
    assert (run.state, run.stage) == ("finished", "released")
    assert run.manifest is not None
    assert version.manifest.training_run == run.manifest.run_id == run_id
    shown = told(trained, "models", "show", model, run_id)
    for part in (run_id, run.manifest.dataset_digest[:12], run.manifest.config_hash[:12]):
        assert part in shown
    assert f"  config {run.manifest.config_hash}" in told(trained, "train", "show", run_id)


async def known(model: str, run_id: str) -> tuple[TrainingRun, Version]:
    async with opened(load().postgres) as registry:
        run = await registry.training_run(run_id)
        assert run is not None
        return run, await registry.version(model, run_id)
