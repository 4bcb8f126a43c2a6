"""Batches: every row once an epoch, in an order that seed and epoch decide; processes share them."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from chimera.schemas.errors import TrainingRefused
from chimera.workers.training.loaders import Loader, Place, build_dataloaders
from chimera.workers.training.preparation import Rows, prepare
from tests.workers.training.places import ALLOWED, config, frame


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return prepare(config(), tmp_path / "data").train


def ids(loader: Loader, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [batch.ids[:, 1].tolist() for batch in loader.batches(epoch, start)]


def test_every_row_comes_once_an_epoch_in_another_order(rows: Rows) -> None:
    loader = Loader(rows, 64, 0)
    first, second = (list(chain(*ids(loader, epoch))) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == sorted(rows.ids[:, 1].tolist())
    assert first != second
    assert len(loader) == len(ids(loader))


def test_batches_after_a_number_are_the_same_as_before(rows: Rows) -> None:
    loader = Loader(rows, 50, 3)
    assert ids(loader, 2, 4) == ids(loader, 2)[4:]


def test_processes_share_each_batch(rows: Rows) -> None:
    whole = ids(Loader(rows, 64, 0))
    parts = [ids(Loader(rows, 64, 0, place=Place(rank, 3))) for rank in range(3)]
    for number, batch in enumerate(whole):
        assert sorted(batch) == sorted(chain(*(part[number] for part in parts)))


@pytest.mark.parametrize("world", [1, 3])
def test_last_batch_that_is_smaller_is_left_out_where_that_is_asked_for(
    rows: Rows, world: int
) -> None:
    assert len(rows) % 64
    for rank in range(world):
        place = Place(rank, world)
        loader = Loader(rows, 64, 0, place=place, drop_last=True)
        assert ids(loader) == ids(Loader(rows, 64, 0, place=place))[:-1]
        assert ids(loader, 1, 2) == ids(loader, 1)[2:]
        assert len(loader) == len(rows) // 64


def test_dropping_all_rows_is_refused(tmp_path: Path) -> None:
    wanted = config(loop={"batch_size": 1_000, "drop_last": True})
    with pytest.raises(TrainingRefused, match=r"loop\.drop_last: \d+ rows are fewer"):
        build_dataloaders(wanted, tmp_path / "own")


def test_features_targets_and_ids_belong_together(rows: Rows) -> None:
    by_id = {int(row_id[1]): at for at, row_id in enumerate(rows.ids)}
    for batch in Loader(rows, 64, 0).batches():
        places = [by_id[one] for one in batch.ids[:, 1].tolist()]
        assert np.array_equal(batch.features.numpy(), rows.features[places])
        assert np.array_equal(batch.targets.numpy(), rows.target[places])


def test_loaders_of_a_configuration_have_what_a_run_trains_on(tmp_path: Path, rows: Rows) -> None:
    made = build_dataloaders(config(), tmp_path / "own")
    again = build_dataloaders(config(), tmp_path / "own")  # prepared already
    assert ids(made.train) == ids(again.train) == ids(Loader(rows, 64, config().seed))
    assert sum(batch.rows for batch in made.validation.batches()) == len(made.data.validation)
    assert made.data.digest == again.data.digest


def test_loaders_of_a_configuration_transform_rows_where_that_is_allowed(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "rows.csv", index=False)
    transform = "tests.workers.training.hooks:doubled"
    schema = {"features": ["a", "b"], "target": "y", "transform": transform}
    wanted = config(data={"sources": [str(tmp_path / "rows.csv")], "schema": schema})
    with pytest.raises(TrainingRefused, match="CHIMERA_TRAINING__ALLOWED"):
        build_dataloaders(wanted, tmp_path / "refused")
    made = build_dataloaders(wanted, tmp_path / "own", ALLOWED).data
    found = np.concatenate((made.train.features[:, 0], made.validation.features[:, 0]))
    assert np.allclose(np.sort(found), np.sort(2 * frame()["a"]))
