"""Rivals compute the same answers as the model, and take their share of partitions."""

import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from benchmarks import model
from benchmarks.contenders import Place, arguments
from benchmarks.load import Requests
from benchmarks.rivals.compute import Model
from benchmarks.rivals.options import parse
from chimera.workers.models import find


def test_model_folder_is_one_that_a_node_serves(tmp_path: Path) -> None:
    model.write(tmp_path)
    found = find(tmp_path)
    assert [version.manifest.name for version in found.versions] == ["digits"]
    assert not found.refusals


def test_compute_answers_a_batch_as_it_answers_each(tmp_path: Path) -> None:
    model.write(tmp_path)
    digits = Model(str(tmp_path / "digits" / "1" / "model.onnx"))
    values = [Requests().value(number) for number in range(5)]
    together = [orjson.loads(result) for result in digits.process(values)]
    alone = [orjson.loads(digits.one(orjson.loads(value))) for value in values]
    for one, other in zip(together, alone, strict=True):
        assert one["id"] == other["id"]
        np.testing.assert_allclose(
            one["outputs"][0]["data"], other["outputs"][0]["data"], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_shares_cover_every_partition_once(
    processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place("127.0.0.1:1", "p-", 4, tmp_path, tmp_path)
    taken: list[int] = []
    for index in range(processes):
        argv = ["rival", *arguments(place, index, processes, {"mode": "take"})]
        monkeypatch.setattr(sys, "argv", argv)
        options = parse()
        taken += options.mine
        assert options.rest == {"mode": "take"}
        assert (options.requests, options.results) == (place.requests, place.results)
    assert sorted(taken) == [0, 1, 2, 3]
