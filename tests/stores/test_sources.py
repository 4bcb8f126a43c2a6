from pathlib import Path

import fsspec  # type: ignore[import-untyped]  # ships no type information
import pytest

from chimera.schemas.errors import (
    ArtifactDamaged,
    ArtifactMissing,
    ArtifactsUnavailable,
    ModelRefused,
    SignatureInvalid,
)
from chimera.schemas.signing import Trusted, new_key
from chimera.stores.sources import Sources
from tests.stores.content import TRUSTED, sha256, version_in


@pytest.fixture
def version(tmp_path: Path) -> tuple[Path, str]:
    """A signed folder below `shared`, and its digest."""
    folder = tmp_path / "shared" / "digits"
    raw, signature = version_in(folder)
    (folder / "manifest.json").write_bytes(raw)
    (folder / "manifest.sig").write_text(signature)
    return folder, sha256(raw)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def sources(folder: Path, trusted: Trusted = TRUSTED, max_file_bytes: int = 1 << 20) -> Sources:
    return Sources((f"file://{folder.parent}",), trusted, max_file_bytes)


def test_version_is_brought_whole(version: tuple[Path, str], here: Path) -> None:
    folder, digest = version
    signed = sources(folder).bring(f"file://{folder}/", digest, here)
    assert signed.manifest.name == "digits"
    assert {path.name: path.read_bytes() for path in here.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


def test_version_is_brought_from_memory_too(version: tuple[Path, str], here: Path) -> None:
    folder, digest = version
    system = fsspec.filesystem("memory")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # untyped
    for path in folder.iterdir():
        system.pipe_file(f"/sources/digits/{path.name}", path.read_bytes())  # pyright: ignore[reportUnknownMemberType]  # untyped
    Sources(("memory://sources",), TRUSTED, 1 << 20).bring("memory://sources/digits", digest, here)
    assert (here / "model.onnx").read_bytes() == b"model"


@pytest.mark.parametrize("url", ["file:///etc", "s3://bucket/x", "digits", "file://{}/../x"])
def test_what_is_not_allowed_is_not_opened(version: tuple[Path, str], here: Path, url: str) -> None:
    folder, digest = version
    with pytest.raises(ModelRefused, match="CHIMERA_ARTIFACTS__SOURCES"):
        sources(folder).bring(url.format(folder), digest, here)
    with pytest.raises(ModelRefused, match="no prefix"):
        Sources((), TRUSTED, 1).bring(f"file://{folder}", digest, here)


def test_link_that_leads_out_is_not_followed(
    version: tuple[Path, str], here: Path, tmp_path: Path
) -> None:
    folder, digest = version
    (folder / "model.onnx").rename(tmp_path / "elsewhere")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelRefused, match="leads out"):
        sources(folder).bring(f"file://{folder}", digest, here)


def test_other_bytes_and_other_signers_are_refused(
    version: tuple[Path, str], here: Path, tmp_path: Path
) -> None:
    folder, digest = version
    url = f"file://{folder}"
    with pytest.raises(SignatureInvalid):
        sources(folder, Trusted([new_key().public])).bring(url, digest, here)
    with pytest.raises(ArtifactDamaged):
        sources(folder).bring(url, "0" * 64, here)
    with pytest.raises(ModelRefused, match="at most 3"):
        sources(folder, max_file_bytes=3).bring(url, digest, here)
    (folder / "labels.json").write_bytes(b"[] and more")
    with pytest.raises(ArtifactDamaged, match=r"labels\.json"):
        sources(folder).bring(url, digest, here)


def test_what_is_missing_and_what_cannot_be_asked_are_told_apart(
    version: tuple[Path, str], here: Path
) -> None:
    folder, digest = version
    (folder / "manifest.sig").unlink()
    with pytest.raises(ArtifactMissing):
        sources(folder).bring(f"file://{folder}", digest, here)
    nobody = Sources(("nosuch://place/",), TRUSTED, 1 << 20)
    with pytest.raises(ArtifactsUnavailable):
        nobody.bring("nosuch://place/digits", digest, here)
