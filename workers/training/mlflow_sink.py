"""A run told to MLflow as well, for teams that have one; a run never waits for it.

    lines of the tracker ── a bounded queue ── a thread ── MLflow: parameters, metrics, the manifest

The model's name is the experiment's, the configuration a run's parameters. One run here is one run
there: a run that resumes goes on with the one that has its tag, and tells no update twice. What
MLflow does not take in time is dropped, and said. `tests/workers/training/test_mlflow_sink.py`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (mlflow's functions are typed in part)

import importlib.util
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import msgspec
import structlog

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.training_manifest import decode_manifest
from chimera.workers.training.folder import MANIFEST

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = structlog.get_logger(__name__)

RUN_ID = "chimera.run_id"
SEND_EVERY_S = 1.0
CLOSE_WITHIN_S = 60.0  # a run that is over waits at most so long for what is left
MAX_LINES = 20_000  # that wait
MAX_METRICS = 1_000  # of one request; MLflow's own limit
MAX_PARAMS, MAX_PARAM = 100, 6_000  # of one request, and characters of one; MLflow's own limits
MARKS = {"step": "lr", "epoch": "train_loss"}  # metrics that each line of a kind has

Line = dict[str, Any]


class MlflowSink:
    """Of one run in one process; a listener of its tracker, for as long as the `with` lasts."""

    def __init__(self, uri: str, config: TrainingConfig, folder: Path) -> None:
        """`uri`: MLflow's tracking URI; `folder`: the run's, whose name is its id.

        Raises:
            ConfigurationError: MLflow's client is not installed.
        """
        if importlib.util.find_spec("mlflow") is None:
            raise ConfigurationError(
                "CHIMERA_TRAINING__MLFLOW_URI is set, and MLflow's client is not installed:"
                " it comes with chimera-stream[mlflow]"
            )
        self._uri, self._config, self._folder = uri, config, folder
        self._lines: queue.Queue[Line] = queue.Queue(MAX_LINES)
        self._ending, self._status = threading.Event(), "FAILED"
        self._run, self._told = "", dict.fromkeys(MARKS, 0)
        self._dropped = 0
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None:
            self._status = "FINISHED"
        elif not issubclass(kind, Exception):  # Ctrl-C
            self._status = "KILLED"
        self._ending.set()
        self._thread.join(CLOSE_WITHIN_S)
        if self._dropped or self._thread.is_alive():
            left = self._dropped + self._lines.qsize()
            log.warning("mlflow_lacks_lines", run_id=self._folder.name, lines=left)

    def __call__(self, line: Line) -> None:
        """Never waits."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    # In the thread, which imports MLflow: that takes seconds.

    @cached_property
    def _client(self) -> "MlflowClient":
        os.environ.setdefault(
            "DO_NOT_TRACK", "true"
        )  # else it tells its makers what it is used for
        from mlflow import MlflowClient

        return MlflowClient(self._uri)

    def _work(self) -> None:
        is_ending = False
        while not is_ending:
            is_ending = self._ending.wait(SEND_EVERY_S)
            lines = [self._lines.get_nowait() for _ in range(self._lines.qsize())]
            try:
                self._send(lines)
                if is_ending:
                    self._end()
            except Exception as error:  # noqa: BLE001  # the boundary: MLflow's troubles are no run's
                self._dropped += len(lines)
                log.warning("mlflow_failed", run_id=self._folder.name, reason=str(error)[:500])

    def _send(self, lines: list[Line]) -> None:
        from mlflow.entities import Metric

        if not self._run:
            self._run = self._found() or self._made()
        metrics = [
            Metric(name, value, line["at_ms"], line["update"])
            for line in lines
            if line["update"] > self._told.get(line["kind"], -1)
            for name, value in _metrics(line).items()
        ]
        for start in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(self._run, metrics[start : start + MAX_METRICS])

    def _found(self) -> str:
        """The run there of a run here that resumes."""
        experiment = self._client.get_experiment_by_name(self._config.name)
        if experiment is None:
            return ""
        wanted = f"tags.`{RUN_ID}` = '{self._folder.name}'"
        found = self._client.search_runs([experiment.experiment_id], wanted, max_results=1)
        if not found:
            return ""
        run = str(found[0].info.run_id)
        for kind, mark in MARKS.items():
            history = self._client.get_metric_history(run, mark)
            self._told[kind] = max((one.step for one in history), default=0)
        self._client.update_run(run, "RUNNING")
        return run

    def _made(self) -> str:
        from mlflow.entities import Param

        name, run_id = self._config.name, self._folder.name
        experiment = self._client.get_experiment_by_name(name)
        place = (
            self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        )
        made = self._client.create_run(place, tags={RUN_ID: run_id}, run_name=run_id)
        run = str(made.info.run_id)
        fields = _fields(msgspec.to_builtins(self._config))
        params = [Param(name, str(value)[:MAX_PARAM]) for name, value in fields]
        for start in range(0, len(params), MAX_PARAMS):
            self._client.log_batch(run, params=params[start : start + MAX_PARAMS])
        return run

    def _end(self) -> None:
        from mlflow.entities import RunTag

        path = self._folder / MANIFEST
        if self._status == "FINISHED":
            manifest = decode_manifest(path.read_bytes())
            names = ("config_hash", "dataset_digest", "weights_sha256")
            tags = [RunTag(f"chimera.{name}", str(getattr(manifest, name))) for name in names]
            self._client.log_batch(self._run, tags=tags)
            self._client.log_artifact(self._run, str(path))
        self._client.set_terminated(self._run, self._status, int(time.time() * 1_000))


def _metrics(line: Line) -> dict[str, float]:
    """Of an update, of an epoch's rows held out, or of the best checkpoint (`best/...`)."""
    match line["kind"]:
        case "step":
            names = ("loss", "lr", "grad_norm", "rows_s")
            return {name: line[name] for name in names if line.get(name) is not None}
        case "epoch":
            return dict(line["metrics"])
        case "finished":
            return {f"best/{name}": value for name, value in line["metrics"].items()}
        case _:
            return {}


def _fields(found: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every field, named as in the configuration's file."""
    if isinstance(found, Mapping):
        for key, value in cast(Mapping[str, Any], found).items():
            yield from _fields(value, f"{name}.{key}" if name else key)
    else:
        yield name, found
