"""Stores of artifacts, in a folder and elsewhere (memory stands for every other URL)."""

import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec  # type: ignore[import-untyped]  # ships no type information
import pytest

from chimera.stores.artifacts import Artifacts

_partitions = itertools.count(1)


@pytest.fixture
def partition() -> int:
    return next(_partitions)


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a place that no other test has."""
    if request.param == "folder":
        yield str(tmp_path / "artifacts")
        return
    name = f"/t{uuid.uuid4().hex}"
    yield f"memory:/{name}"
    memory = fsspec.filesystem("memory")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # untyped
    if memory.exists(name):
        memory.rm(name, recursive=True)


@pytest.fixture
def artifacts(url: str, tmp_path: Path) -> Artifacts:
    return Artifacts(url, tmp_path / "cache")
