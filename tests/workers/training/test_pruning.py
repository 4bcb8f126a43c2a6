"""Data of a finished run go, what they were stays told, and what is left by halves is no data set."""

from pathlib import Path

import pytest

from chimera.schemas.errors import TrainingRefused
from chimera.workers.training.preparation import opened, prepare
from chimera.workers.training.pruning import forget_data
from tests.workers.training.places import config


def test_data_go_once_and_refused_rows_stay(tmp_path: Path) -> None:
    data = tmp_path / "data"
    rows = prepare(config(), data).train
    (data / "quarantine.jsonl").write_text("{}")
    assert forget_data(tmp_path) > rows.features.nbytes
    assert forget_data(tmp_path) == 0
    assert [one.name for one in data.iterdir()] == ["quarantine.jsonl"]
    with pytest.raises(TrainingRefused, match="no prepared data set"):
        opened(data)


def test_run_without_data_is_left_alone(tmp_path: Path) -> None:
    assert forget_data(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
