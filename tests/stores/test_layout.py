from pathlib import Path

import pytest
from msgspec import structs

from chimera.schemas.errors import ArtifactDamaged, ArtifactMissing, SignatureInvalid
from chimera.schemas.model_state import LiveVersion, TierArtifact
from chimera.schemas.signing import Trusted, new_key
from chimera.stores.artifacts import Artifacts, name_of
from chimera.stores.layout import Layout
from chimera.stores.versions import Versions
from chimera.workers.models import read_model
from chimera.workers.placed import find_placed
from tests.stores.content import TRUSTED, overwrite, version_in

GRAPH = b"an optimised graph"


@pytest.fixture
def live(artifacts: Artifacts, tmp_path: Path) -> LiveVersion:
    """A version that is stored, and its artifact."""
    digest = Versions(artifacts).add(tmp_path / "upload", *version_in(tmp_path / "upload"))
    (tmp_path / "graph").write_bytes(GRAPH)
    stored = artifacts.put(tmp_path / "graph")
    tiers = (
        TierArtifact("onnx-cpu", stored.sha256, {1: 10.0}, target="cpu-0123"),
        TierArtifact("torch-cpu", "0" * 64),
    )
    return LiveVersion(version="1", sha256=digest, weight=1.0, tiers=tiers)


def test_version_is_laid_out_with_its_artifacts(
    artifacts: Artifacts, live: LiveVersion, tmp_path: Path
) -> None:
    layout = Layout(artifacts, TRUSTED, tmp_path / "placed")
    placed = layout.place("digits", live)
    assert (placed.name, placed.digest) == ("digits/1", live.sha256)
    compiled, eager = placed.variants
    assert (Path(compiled.folder) / "graph.onnx").read_bytes() == GRAPH
    assert compiled.files["graph.onnx"].sha256 == live.tiers[0].sha256
    assert (compiled.p99_us, compiled.target) == ({1: 10.0}, "cpu-0123")
    assert (eager.name, eager.folder, eager.files) == ("torch-cpu", placed.folder, {})
    (version,) = find_placed([placed]).versions
    assert read_model(version) == b"model"
    assert layout.place("digits", live) == placed


def test_native_code_comes_with_its_signature(
    artifacts: Artifacts, live: LiveVersion, tmp_path: Path
) -> None:
    for name, content in (("package", b"code"), ("one", b"signed"), ("two", b"signed anew")):
        (tmp_path / name).write_bytes(content)
    package, one, two = (artifacts.put(tmp_path / name) for name in ("package", "one", "two"))
    layout = Layout(artifacts, TRUSTED, tmp_path / "placed")
    for signature in (one, two):
        beside = {"package.pt2.sig": signature.sha256}
        tier = TierArtifact("torch-compiled-cpu", package.sha256, beside=beside)
        (variant,) = layout.place("digits", structs.replace(live, tiers=(tier,))).variants
        assert variant.files == {"package.pt2": package, "package.pt2.sig": signature}
        assert sorted(path.name for path in Path(variant.folder).iterdir()) == sorted(variant.files)


def test_what_lies_there_is_not_brought_again(
    artifacts: Artifacts, live: LiveVersion, tmp_path: Path
) -> None:
    layout = Layout(artifacts, TRUSTED, tmp_path / "placed")
    placed = layout.place("digits", live)
    artifacts.place.remove(name_of(live.tiers[0].sha256))
    assert layout.place("digits", live) == placed


def test_version_that_nobody_trusted_signed_is_not_laid_out(
    artifacts: Artifacts, live: LiveVersion, tmp_path: Path
) -> None:
    layout = Layout(artifacts, Trusted([new_key().public]), tmp_path / "placed")
    with pytest.raises(SignatureInvalid):
        layout.place("digits", live)


def test_artifact_that_is_missing_or_damaged_is_told(
    artifacts: Artifacts, live: LiveVersion, tmp_path: Path
) -> None:
    name = name_of(live.tiers[0].sha256)
    overwrite(artifacts.place, name, b"other")
    with pytest.raises(ArtifactDamaged):
        Layout(artifacts, TRUSTED, tmp_path / "placed").place("digits", live)
    artifacts.place.remove(name)
    with pytest.raises(ArtifactMissing):
        Layout(artifacts, TRUSTED, tmp_path / "placed").place("digits", live)
