"""Paths of a configuration become URLs of its folder; what is none stays."""

from pathlib import Path

import pytest

from chimera.cli.training.placing import placed, url
from tests.workers.training.places import config


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("rows.csv", "file:///orders/rows.csv"),
        ("data/*.parquet", "file:///orders/data/*.parquet"),
        ("../data/model=a/**/*.parquet", "file:///data/model=a/**/*.parquet"),
        ("/data", "file:///data"),
        ("s3://data/*.parquet", "s3://data/*.parquet"),
        ("synthetic:60,4", "synthetic:60,4"),
    ],
)
def test_path_is_of_the_configurations_folder(source: str, wanted: str) -> None:
    assert url(source, Path("/orders")) == wanted


def test_configuration_differs_in_its_sources_alone() -> None:
    order = config(data={"sources": ["rows.csv", "synthetic:60,4"]})
    found = placed(order, Path("/orders"))
    assert found.data.sources == ("file:///orders/rows.csv", "synthetic:60,4")
    assert placed(found, Path("/elsewhere")) == found
    assert found.data.schema == order.data.schema


def test_relative_folder_and_home_are_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert url("~/rows.csv", Path("/orders")) == "file:///home/ada/rows.csv"
    assert url("rows.csv", Path()) == f"file://{Path.cwd()}/rows.csv"
