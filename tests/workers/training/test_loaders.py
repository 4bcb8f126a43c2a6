"""Batches: every row once an epoch, in an order that seed and epoch decide; processes share them."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from chimera.workers.training.loaders import Loader, Place
from chimera.workers.training.preparation import Rows, prepare
from tests.workers.training.places import config


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


def test_features_targets_and_ids_belong_together(rows: Rows) -> None:
    by_id = {int(row_id[1]): at for at, row_id in enumerate(rows.ids)}
    for batch in Loader(rows, 64, 0).batches():
        places = [by_id[one] for one in batch.ids[:, 1].tolist()]
        assert np.array_equal(batch.features.numpy(), rows.features[places])
        assert np.array_equal(batch.targets.numpy(), rows.target[places])
