"""Blobs by digest: in a folder and in memory, whole, verified, from many writers at once."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chimera.schemas.errors import (
    ArtifactDamaged,
    ArtifactMissing,
    ArtifactsUnavailable,
    ConfigurationError,
)
from chimera.schemas.manifest import File
from chimera.stores.artifacts import Artifacts, name_of
from tests.stores.content import overwrite, sha256

DATA = bytes(range(256)) * 8_192  # more than is read at once


@given(st.binary(max_size=100))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_stored_bytes_come_back_by_their_digest(artifacts: Artifacts, data: bytes) -> None:
    file = artifacts.put(io.BytesIO(data))
    assert file == File(sha256(data), len(data))
    assert artifacts.has(file.sha256)
    assert artifacts.get(file.sha256).read_bytes() == data


def test_file_is_stored_by_its_path(artifacts: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(DATA)
    file = artifacts.put(tmp_path / "model")
    assert file == File(sha256(DATA), len(DATA))
    assert artifacts.get(file.sha256).read_bytes() == DATA


def test_what_is_handed_out_cannot_be_written(artifacts: Artifacts) -> None:
    path = artifacts.get(artifacts.put(io.BytesIO(DATA)).sha256)
    assert path.stat().st_mode & 0o777 == 0o444


def test_folder_hands_out_its_own_file_and_no_copy(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path / "store"), tmp_path / "cache")
    path = artifacts.get(artifacts.put(io.BytesIO(DATA)).sha256)
    assert path.is_relative_to(tmp_path / "store")
    assert not (tmp_path / "cache").exists()


def test_what_is_not_stored_is_missing(artifacts: Artifacts) -> None:
    assert not artifacts.has("0" * 64)
    with pytest.raises(ArtifactMissing, match="is not stored"):
        artifacts.get("0" * 64)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "0" * 63, "0" * 64 + "\n", "A" * 64])
def test_what_is_no_digest_is_nowhere(artifacts: Artifacts, digest: str) -> None:
    assert not artifacts.has(digest)
    with pytest.raises(ArtifactMissing, match="is no SHA-256"):
        artifacts.get(digest)


@pytest.mark.parametrize("content", [DATA[:-1], DATA[:-1] + b"x", DATA + b"x", b""])
def test_damaged_blob_is_never_handed_out(
    artifacts: Artifacts, tmp_path: Path, content: bytes
) -> None:
    digest = artifacts.put(io.BytesIO(DATA)).sha256
    overwrite(artifacts.place, name_of(digest), content)
    with pytest.raises(ArtifactDamaged, match=digest):
        artifacts.get(digest)
    with pytest.raises(ArtifactDamaged):
        artifacts.copy(digest, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert not [path for path in tmp_path.rglob("cache/**/*") if path.is_file()]


def test_damaged_blob_is_healed_by_storing_it_again(artifacts: Artifacts) -> None:
    digest = artifacts.put(io.BytesIO(DATA)).sha256
    overwrite(artifacts.place, name_of(digest), b"rot")
    artifacts.put(io.BytesIO(DATA))
    assert artifacts.get(digest).read_bytes() == DATA


def test_damaged_copy_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    artifacts = Artifacts(f"memory://{tmp_path}", tmp_path / "cache")
    path = artifacts.get(artifacts.put(io.BytesIO(DATA)).sha256)
    path.chmod(0o644)
    path.write_bytes(b"rot")
    assert artifacts.get(path.name).read_bytes() == DATA
    assert path.read_bytes() == DATA


def test_source_that_fails_leaves_nothing(artifacts: Artifacts) -> None:
    class Failing(io.RawIOBase):
        def __init__(self) -> None:
            self.left = 3

        def read(self, size: int = -1, /) -> bytes:
            self.left -= 1
            if not self.left:
                raise OSError("the disk is gone")
            return b"x" * size

    with pytest.raises(OSError, match="the disk is gone"):
        artifacts.put(cast(IO[bytes], Failing()))
    assert artifacts.place.names("blobs") == artifacts.place.leftovers() == []


def test_many_writers_of_the_same_bytes_do_no_harm(artifacts: Artifacts) -> None:
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(artifacts.put, [io.BytesIO(DATA) for _ in range(24)]))
    assert set(files) == {File(sha256(DATA), len(DATA))}
    assert artifacts.place.names("blobs") == [name_of(sha256(DATA))]
    assert artifacts.place.leftovers() == []
    assert artifacts.get(sha256(DATA)).read_bytes() == DATA


def test_reader_is_not_disturbed_by_a_writer_of_the_same_bytes(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path), tmp_path / "cache")
    path = artifacts.get(artifacts.put(io.BytesIO(DATA)).sha256)
    with path.open("rb") as reader:
        first = reader.read(1_000)
        artifacts.put(io.BytesIO(DATA))
        assert first + reader.read() == DATA


def test_store_of_an_unknown_kind_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="CHIMERA_ARTIFACTS__URL"):
        Artifacts("nothing://x", tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_store_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o500)
    with pytest.raises(ArtifactsUnavailable, match="PermissionError"):
        Artifacts(str(tmp_path / "store"), tmp_path / "cache").put(io.BytesIO(DATA))


def test_store_whose_folder_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(ArtifactsUnavailable, match="store"):
        Artifacts(str(tmp_path / "store"), tmp_path / "cache").put(io.BytesIO(DATA))
