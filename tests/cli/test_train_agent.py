"""`chimera train submit` and the rest, as people type them, to an agent in a process of its own.

It has no place to train in, so that nothing but what is said takes time.
"""

import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.cli.stack.child import Child
from chimera.cli.stack.ports import HOST, free_port
from tests.cli.letters import starts
from tests.cli.places import Place
from tests.cli.test_train import ORDER

pytestmark = pytest.mark.timeout(120)  # the agent imports its libraries, on a busy machine


@pytest.fixture
def agent(
    place: Place, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The place's folder, with an order in it."""
    environment = {
        **place.environment,
        "CHIMERA_POSTGRES__DSN": server.dsn,
        "CHIMERA_TRAINER__DEVICES": "[]",
        "CHIMERA_TRAINER__POLL_MS": "30",
        "CHIMERA_TRAINER__QUEUE_MS": "30",
        "CHIMERA_TRAINER__METRICS_PORT": str(free_port()),
        "CHIMERA_TRAINING__DIR": str(place.folder / "runs"),
        "CHIMERA_TRAINING__ALLOWED": '["torch.nn:Linear"]',
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (place.folder / "order.yaml").write_text(ORDER)
    command = [sys.executable, "-m", "chimera.cli", "trainer"]
    log_file = place.folder / "trainer.log"
    child = Child(command, log_file=log_file, environment=environment)
    yield place.folder
    assert child.stop(30) == 0, log_file.read_text()[-2000:]


def train(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, ["train", *arguments])
    assert done.exit_code == status, (arguments, done.output)
    return done.output


def scraped() -> dict[str, float]:
    """What the agent counts, once it has counted the run that waits."""
    url = f"http://{HOST}:{os.environ['CHIMERA_TRAINER__METRICS_PORT']}/metrics"
    while True:
        with urllib.request.urlopen(url, timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        found = {one.name: one.value for family in families for one in family.samples}
        if found["chimera_training_queued_runs"] > 0:
            return found
        time.sleep(0.05)


def test_policy_is_set_listed_shown_and_removed(agent: Path) -> None:
    order = str(agent / "order.yaml")
    model = f"line-{time.time_ns()}"
    (agent / "order.yaml").write_text(ORDER.replace("name: line", f"name: {model}"))
    train("allow", "--train")
    timeout = ("--timeout", "100")
    assert "either --on or --every" in train(
        "submit", order, "--on", "drift", "--every", "6h", status=2
    )
    assert "none of: drift" in train("submit", order, "--on", "whim", status=2)
    assert "interval_s" in train("submit", order, "--every", "5s", *timeout, status=1)
    served = ("--served", "samples", "--since", "6h")
    assert "goes with --on drift" in train("submit", order, *served, status=2)
    not_here = train("submit", order, "--on", "drift", *served, *timeout, status=1)
    assert f"""CHIMERA_TRAINING__SOURCES='["file://{Path.cwd()}/"]' would allow it""" in not_here
    train("submit", order, "--every", "6h", *timeout)
    train("submit", order, "--on", "drift", "--cool-down", "90m", "--policy", model, *timeout)
    shown = train("policies", "show", f"{model}-schedule")
    assert f"orders runs of {model} every 6h" in shown
    assert "fired 0 times" in shown
    assert f"{model} on drift, once in 90m at most" in train("policies", "show", model)
    listed = train("policies")
    for name in (model, f"{model}-schedule"):
        assert name in listed
        assert f"policy {name} is removed" in train("policies", "remove", name, *timeout)
    assert "there is no policy" in train("policies", "remove", model, *timeout, status=1)
    assert f"there is no policy {model}" in train("policies", "show", model, status=1)


def test_run_is_ordered_listed_shown_cancelled_and_resumed(agent: Path) -> None:
    order = str(agent / "order.yaml")
    model = f"line-{time.time_ns()}"
    (agent / "order.yaml").write_text(ORDER.replace("name: line", f"name: {model}"))
    train("allow", "--train", "--promote", "--revoke")
    refused = train("submit", order, "--promote", "--timeout", "100", status=1)
    assert "has no right to train" in refused
    assert "has no right to promote" in refused
    assert "train    " in train("allow", "--train")
    run_id = train("submit", order, "--priority", "3", "--timeout", "100").split()[1]
    assert run_id.startswith(f"{model}-")
    assert run_id in train("runs")
    shown = train("show", run_id)
    assert f"run {run_id} of {model}: queued" in shown
    assert "priority 3" in shown
    page = scraped()
    assert page["chimera_training_leads"] == 1
    assert (
        page["chimera_training_heartbeat_age_seconds"] == page["chimera_training_running_runs"] == 0
    )
    train("cancel", run_id, "--timeout", "100")
    assert "nothing to cancel" in train("cancel", run_id, "--timeout", "100", status=1)
    assert "is queued" in train("resume", run_id, "--timeout", "100")
    train("cancel", run_id, "--timeout", "100")
    assert f"run {run_id} of {model}: cancelled" in train("show", run_id)
    watched = train("watch", run_id, status=1)
    assert watched.count("queued by") == watched.count("cancelled by") == 2
    where = [os.environ[f"CHIMERA_KAFKA__{name}"] for name in ("BOOTSTRAP", "TOPIC_PREFIX")]
    assert starts(*where) == ["trainer"]
