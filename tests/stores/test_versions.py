"""Versions: stored once their files are, believed once they are signed, served from whole folders."""

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import (
    ArtifactDamaged,
    ArtifactMissing,
    ModelRefused,
    SignatureInvalid,
)
from chimera.schemas.signing import Kind, Trusted, new_key
from chimera.stores.artifacts import Artifacts, name_of
from chimera.stores.versions import Versions
from chimera.workers.inspection.rules import Rules
from chimera.workers.models import find, read_model
from chimera.workers.packing import pack
from chimera.workers.vouching import read_signed
from tests.stores.content import KEY, TRUSTED, overwrite, sha256, version_in
from tests.workers.hostile_changes import good


@pytest.fixture
def versions(artifacts: Artifacts) -> Versions:
    return Versions(artifacts)


@pytest.fixture
def digest(versions: Versions, tmp_path: Path) -> str:
    return versions.add(tmp_path / "upload", *version_in(tmp_path / "upload"))


def test_version_is_known_by_the_digest_of_its_manifest(versions: Versions, tmp_path: Path) -> None:
    raw, signature = version_in(tmp_path / "upload")
    digest = versions.add(tmp_path / "upload", raw, signature)
    assert digest == sha256(raw)
    signed = versions.read(digest, TRUSTED)
    assert (signed.raw, signed.signature) == (raw, signature)
    assert signed.manifest.version == "1"


def test_version_whose_file_changed_since_it_was_inspected_is_refused(
    versions: Versions, tmp_path: Path
) -> None:
    raw, signature = version_in(tmp_path / "upload")
    (tmp_path / "upload" / "model.onnx").write_bytes(b"Model")
    with pytest.raises(ModelRefused, match=r"model\.onnx: SHA-256 is"):
        versions.add(tmp_path / "upload", raw, signature)
    assert not versions.has(sha256(raw))


def test_manifest_whose_files_are_not_stored_is_refused(versions: Versions, tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match=r"(model\.onnx|labels\.json): "):
        versions.put_manifest(*version_in(tmp_path / "upload"))


def test_manifest_that_names_no_files_is_refused(versions: Versions, tmp_path: Path) -> None:
    raw, _ = version_in(tmp_path / "upload")
    bare = manifests.encode_draft(manifests.decode(raw, "m")).replace(
        b'"name"', b'"sha256": "%s", "name"' % (b"0" * 64), 1
    )
    with pytest.raises(ModelRefused, match="names no files"):
        versions.put_manifest(bare, KEY.sign(Kind.MANIFEST, bare))


def test_manifest_without_a_signature_is_refused(versions: Versions, tmp_path: Path) -> None:
    raw, _ = version_in(tmp_path / "upload")
    with pytest.raises(SignatureInvalid):
        versions.add(tmp_path / "upload", raw, "trust me")


def test_version_becomes_a_folder_that_is_served(
    versions: Versions, digest: str, tmp_path: Path
) -> None:
    folder = versions.materialize(digest, tmp_path / "models", TRUSTED)
    assert folder == tmp_path / "models" / "digits" / "1"
    found = find(tmp_path / "models")
    assert found.refusals == ()
    (version,) = found.versions
    assert read_model(version) == b"model"
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx",
        "labels.json",
        "manifest.json",
        "manifest.sig",
    }
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


def test_version_that_is_a_folder_already_is_left_alone(
    versions: Versions, digest: str, tmp_path: Path
) -> None:
    folder = versions.materialize(digest, tmp_path / "models", TRUSTED)
    before = {path.name: path.stat().st_ino for path in (folder, *folder.iterdir())}
    assert versions.materialize(digest, tmp_path / "models", TRUSTED) == folder
    assert {path.name: path.stat().st_ino for path in (folder, *folder.iterdir())} == before


@pytest.mark.parametrize(
    "trusted", [Trusted([]), Trusted([new_key().public])], ids=["nobody", "others"]
)
def test_version_that_nobody_trusted_signed_is_refused_unwritten(
    versions: Versions, digest: str, tmp_path: Path, trusted: Trusted
) -> None:
    with pytest.raises(SignatureInvalid, match=digest):
        versions.materialize(digest, tmp_path / "models", trusted)
    assert not (tmp_path / "models").exists()


def test_signature_is_asked_for_at_each_load(
    versions: Versions, digest: str, tmp_path: Path
) -> None:
    """Also where the folder is there: a key that is no longer trusted serves nothing new."""
    versions.materialize(digest, tmp_path / "models", TRUSTED)
    with pytest.raises(SignatureInvalid):
        versions.materialize(digest, tmp_path / "models", Trusted([new_key().public]))


def test_version_signed_again_by_a_new_key_is_believed_by_either(
    versions: Versions, digest: str
) -> None:
    new = new_key()
    raw = versions.stored(digest)
    assert versions.put_manifest(raw, new.sign(Kind.MANIFEST, raw)) == digest
    for trusted in (TRUSTED, Trusted([new.public])):
        assert versions.read(digest, trusted).raw == raw


def test_signature_of_other_bytes_is_refused(
    artifacts: Artifacts, versions: Versions, digest: str
) -> None:
    name = f"manifests/{digest}/{KEY.public.key_id}.sig"
    overwrite(artifacts.place, name, KEY.sign(Kind.MANIFEST, b"other").encode())
    with pytest.raises(SignatureInvalid, match="is not over this manifest"):
        versions.read(digest, TRUSTED)


def test_manifest_that_changed_in_the_store_is_refused(
    artifacts: Artifacts, versions: Versions, digest: str
) -> None:
    raw = versions.stored(digest)
    overwrite(artifacts.place, f"manifests/{digest}/manifest.json", raw + b" ")
    with pytest.raises(ArtifactDamaged, match=digest):
        versions.read(digest, TRUSTED)


def test_version_with_a_damaged_blob_leaves_no_folder(
    artifacts: Artifacts, versions: Versions, digest: str, tmp_path: Path
) -> None:
    overwrite(artifacts.place, name_of(sha256(b"model")), b"Model")
    with pytest.raises(ArtifactDamaged):
        versions.materialize(digest, tmp_path / "models", TRUSTED)
    assert list((tmp_path / "models" / "digits").iterdir()) == []


def _change(folder: Path) -> None:
    (folder / "model.onnx").chmod(0o644)
    (folder / "model.onnx").write_bytes(b"Model")


def _lose(folder: Path) -> None:
    (folder / "labels.json").unlink()


def _add(folder: Path) -> None:
    (folder / "evil.pkl").write_bytes(b"")


def _link(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "away")
    (folder / "model.onnx").symlink_to(folder.parent / "away")


def _resign(folder: Path) -> None:
    (folder / "manifest.sig").write_text("trust me")


@pytest.mark.parametrize("damage", [_change, _lose, _add, _link, _resign])
def test_damaged_folder_is_made_anew(
    versions: Versions, digest: str, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = versions.materialize(digest, tmp_path / "models", TRUSTED)
    damage(folder)
    versions.materialize(digest, tmp_path / "models", TRUSTED)
    assert (folder / "model.onnx").read_bytes() == b"model"
    assert not (folder / "model.onnx").is_symlink()
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("theirs", ["manifest.json", "notes.txt"])
def test_folder_that_holds_something_else_is_left_alone(
    versions: Versions, digest: str, tmp_path: Path, theirs: str
) -> None:
    folder = tmp_path / "models" / "digits" / "1"
    folder.mkdir(parents=True)
    (folder / theirs).write_text("mine")
    with pytest.raises(ModelRefused, match="holds something else"):
        versions.materialize(digest, tmp_path / "models", TRUSTED)
    assert (folder / theirs).read_text() == "mine"


def test_draft_of_a_process_that_died_is_cleared_and_hides_nothing(
    versions: Versions, digest: str, tmp_path: Path
) -> None:
    old, new = (tmp_path / "models" / "digits" / name for name in (".1.0000", ".1.1111"))
    for draft in (old, new):
        draft.mkdir(parents=True)
    os.utime(old, (0, 0))
    versions.materialize(digest, tmp_path / "models", TRUSTED)
    assert (old.exists(), new.exists()) == (False, True)
    assert [one.manifest.version for one in find(tmp_path / "models").versions] == ["1"]


@pytest.mark.parametrize("text", ["", "..", "0" * 64 + "/x", "0" * 63])
def test_what_is_no_digest_is_no_version(versions: Versions, tmp_path: Path, text: str) -> None:
    with pytest.raises(ArtifactMissing):
        versions.materialize(text, tmp_path / "models", TRUSTED)


def test_unknown_version_is_missing(versions: Versions) -> None:
    with pytest.raises(ArtifactMissing):
        versions.read("0" * 64, TRUSTED)


def _materialize(url: str, digest: str, place: str, seed: bytes) -> None:
    from chimera.schemas.signing import PublicKey

    versions = Versions(Artifacts(url, Path(place) / "cache"))
    for _ in range(20):
        versions.materialize(digest, Path(place) / "models", Trusted([PublicKey(seed)]))


def test_many_processes_make_the_same_folder(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    versions = Versions(Artifacts(url, tmp_path / "cache"))
    model = os.urandom(1 << 20)
    raw, signature = version_in(tmp_path / "upload", model=model)
    digest = versions.add(tmp_path / "upload", raw, signature)
    spawn = multiprocessing.get_context("spawn")
    arguments = (url, digest, str(tmp_path), KEY.public.raw)
    makers = [spawn.Process(target=_materialize, args=arguments) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [maker.exitcode for maker in makers] == [0] * 4
    (version,) = find(tmp_path / "models").versions
    assert read_model(version) == model
    assert [path.name for path in version.folder.parent.iterdir()] == ["1"]
    shutil.rmtree(tmp_path / "models")


def test_folder_of_a_person_makes_the_whole_way(versions: Versions, tmp_path: Path) -> None:
    packed = pack(good(tmp_path / "upload"), KEY, Rules())
    digest = versions.add(packed.folder, packed.raw, packed.signature)
    assert digest == packed.digest
    folder = versions.materialize(digest, tmp_path / "models", TRUSTED)
    assert read_signed(folder, TRUSTED) == packed.manifest
    (version,) = find(tmp_path / "models").versions
    assert read_model(version) == (tmp_path / "upload" / "model.onnx").read_bytes()
