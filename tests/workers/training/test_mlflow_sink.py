"""A run in a real MLflow store: its parameters, curves, end; resumed it goes on; away, nothing waits."""

import pytest

pytest.importorskip("mlflow", reason="the extra mlflow is not installed")

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from structlog.testing import capture_logs

from chimera.schemas.errors import ConfigurationError, TrainingAborted
from chimera.workers.training.run import Where, train
from tests.workers.training.places import config, where


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # a database's artifacts lie in the working folder
        uri = f"sqlite:///{folder}/mlflow.db"
        MlflowClient(uri).search_experiments()  # makes its tables, which takes a while
        yield uri


def at(store: str, runs: Path, run_id: str) -> Where:
    return replace(where(runs, run_id), mlflow_uri=store)


def run_of(store: str, run_id: str) -> Run:
    """The only one that has the tag."""
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("line")
    assert experiment is not None
    wanted = f"tags.`chimera.run_id` = '{run_id}'"
    (found,) = client.search_runs([experiment.experiment_id], wanted)
    return found


def told(store: str, run: Run, name: str) -> list[tuple[int, float]]:
    history = MlflowClient(store).get_metric_history(run.info.run_id, name)
    return sorted((one.step, one.value) for one in history)


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    found = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [one for one in found if one["kind"] == kind]


def test_run_is_there_with_its_parameters_curves_and_end(store: str, tmp_path: Path) -> None:
    manifest = train(config(), at(store, tmp_path, "one"))
    run, folder = run_of(store, "one"), tmp_path / "one"
    assert (run.info.run_name, run.info.status) == ("one", "FINISHED")
    assert run.data.params["optimizer.arguments.lr"] == "0.1"
    assert run.data.tags["chimera.dataset_digest"] == manifest.dataset_digest
    assert told(store, run, "loss") == [
        (one["update"], one["loss"]) for one in lines(folder, "step")
    ]
    epochs = [(one["update"], one["metrics"]["val_loss"]) for one in lines(folder, "epoch")]
    assert told(store, run, "val_loss") == epochs
    assert told(store, run, "best/eval_mse") == [(manifest.updates, manifest.metrics["eval_mse"])]
    kept = MlflowClient(store).download_artifacts(run.info.run_id, "manifest.json", str(tmp_path))
    assert Path(kept).read_bytes() == (folder / "manifest.json").read_bytes()


def test_run_that_resumes_goes_on_there_and_tells_each_update_once(
    store: str, tmp_path: Path
) -> None:
    def fail(line: dict[str, Any]) -> None:
        if line["update"] == 20:
            raise TrainingAborted("on purpose")

    with pytest.raises(TrainingAborted):
        train(config(), at(store, tmp_path, "two"), listeners=(fail,))
    broken = run_of(store, "two")
    assert broken.info.status == "FAILED"
    manifest = train(config(), at(store, tmp_path, "two"), resume=True)
    run = run_of(store, "two")
    assert (run.info.run_id, run.info.status) == (broken.info.run_id, "FINISHED")
    assert [step for step, _ in told(store, run, "loss")] == list(range(1, manifest.updates + 1))


def test_client_that_is_not_installed_is_told(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigurationError, match=r"chimera-stream\[mlflow\]"):
        train(config(), at(store, tmp_path, "three"))


def test_run_does_not_need_an_mlflow_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with capture_logs() as logs:
        manifest = train(config(), at("http://127.0.0.1:9", tmp_path, "one"))
    assert manifest.updates == len(lines(tmp_path / "one", "step"))
    assert "mlflow_failed" in {one["event"] for one in logs}
