"""What is referred to or young stays; what is neither goes; a doubt removes nothing."""

import io
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chimera.schemas.errors import ArtifactDamaged, ArtifactMissing
from chimera.stores.artifacts import Artifacts
from chimera.stores.garbage import Collected, collect
from chimera.stores.versions import Versions
from tests.stores.content import TRUSTED, overwrite, sha256, version_in

GRACE_S = 3_600


def tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


def add(artifacts: Artifacts, folder: Path, version: str, model: bytes) -> str:
    return Versions(artifacts).add(folder, *version_in(folder, version, model=model))


def test_files_of_a_kept_version_stay(artifacts: Artifacts, tmp_path: Path) -> None:
    kept = add(artifacts, tmp_path / "one", "1", b"one")
    dropped = add(artifacts, tmp_path / "two", "2", b"two")
    collected = collect(artifacts, {kept}, GRACE_S, tomorrow())
    assert collected == Collected((dropped,), (sha256(b"two"),), 0)  # both have the same labels
    Versions(artifacts).materialize(kept, tmp_path / "models", TRUSTED)
    assert not Versions(artifacts).has(dropped)
    assert not artifacts.has(sha256(b"two"))


def test_what_would_go_is_told_and_stays(artifacts: Artifacts, tmp_path: Path) -> None:
    dropped = add(artifacts, tmp_path / "one", "1", b"one")
    told = collect(artifacts, (), GRACE_S, tomorrow(), removes=False)
    assert (told.versions, sha256(b"one") in told.blobs) == ((dropped,), True)
    Versions(artifacts).materialize(dropped, tmp_path / "models", TRUSTED)
    assert collect(artifacts, (), GRACE_S, tomorrow()) == told
    assert not Versions(artifacts).has(dropped)


def test_kept_file_stays_without_a_version(artifacts: Artifacts) -> None:
    compiled = artifacts.put(io.BytesIO(b"compiled")).sha256
    other = artifacts.put(io.BytesIO(b"other")).sha256
    assert collect(artifacts, {compiled}, GRACE_S, tomorrow()).blobs == (other,)
    assert artifacts.has(compiled)


def test_young_file_stays(artifacts: Artifacts) -> None:
    young = artifacts.put(io.BytesIO(b"young")).sha256
    soon = datetime.now(UTC) + timedelta(seconds=GRACE_S - 60)
    assert collect(artifacts, (), GRACE_S, soon) == Collected((), (), 0)
    assert artifacts.has(young)
    assert collect(artifacts, (), GRACE_S, tomorrow()).blobs == (young,)


def test_file_that_is_stored_again_is_young_again(artifacts: Artifacts) -> None:
    digest = artifacts.put(io.BytesIO(b"again")).sha256
    place, name = artifacts.place, f"blobs/{digest[:2]}/{digest}"
    now = datetime.now(UTC)
    first = place.age_s(name, now)
    time.sleep(0.05)  # a folder's clock ticks every few milliseconds
    artifacts.put(io.BytesIO(b"again"))
    assert place.age_s(name, now) < first


def test_nothing_is_removed_where_something_kept_is_missing(artifacts: Artifacts) -> None:
    other = artifacts.put(io.BytesIO(b"other")).sha256
    with pytest.raises(ArtifactMissing, match="nothing was removed"):
        collect(artifacts, {"0" * 64}, GRACE_S, tomorrow())
    assert artifacts.has(other)


def test_nothing_is_removed_where_a_kept_manifest_is_damaged(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    digest = add(artifacts, tmp_path / "one", "1", b"one")
    overwrite(artifacts.place, f"manifests/{digest}/manifest.json", b"{}")
    with pytest.raises(ArtifactDamaged):
        collect(artifacts, {digest}, GRACE_S, tomorrow())
    assert artifacts.has(sha256(b"one"))


def test_empty_store_has_no_garbage(artifacts: Artifacts) -> None:
    assert collect(artifacts, (), GRACE_S) == Collected((), (), 0)


def test_what_is_being_written_stays(artifacts: Artifacts) -> None:
    with artifacts.place.incoming() as draft:
        draft.write(b"half")
        assert collect(artifacts, (), GRACE_S).leftovers == 0
        draft.publish("blobs/00/name")
    assert artifacts.place.read("blobs/00/name", 10) == b"half"
