"""A run has as many threads as its configuration wants, unless whoever starts it says otherwise."""

from dataclasses import replace
from pathlib import Path

from chimera.workers.training.run import train
from tests.workers.training.places import config, where


def test_threads_of_whoever_starts_a_run_go_before_its_configurations(tmp_path: Path) -> None:
    order = config(loop={"epochs": 1, "threads": 2})
    assert train(order, where(tmp_path, "own")).threads == 2
    assert train(order, replace(where(tmp_path, "held"), threads=1)).threads == 1
