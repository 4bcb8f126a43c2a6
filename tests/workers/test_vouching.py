from pathlib import Path

import pytest

from chimera.schemas.compile_report import TierReport
from chimera.schemas.errors import ModelRefused, SignatureInvalid
from chimera.schemas.manifest import File
from chimera.schemas.signing import Trusted
from chimera.workers.packing import pack
from chimera.workers.vouching import read_signed, require_program, sign_native, sign_program
from tests.workers.hostile_changes import good
from tests.workers.hostile_files import KEY, RULES, STRANGER

TRUSTED, OTHERS = Trusted([KEY.public]), Trusted([STRANGER.public])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = good(tmp_path / "upload")
    pack(folder, KEY, RULES).write()
    return folder


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt2"
    path.write_bytes(b"code")
    sign_program(path, KEY)
    return path


def test_signed_folder_is_read(folder: Path) -> None:
    assert read_signed(folder, TRUSTED).name == "digits"


def test_folder_of_a_stranger_is_refused(folder: Path) -> None:
    with pytest.raises(SignatureInvalid, match="no trusted key"):
        read_signed(folder, OTHERS)


def test_folder_whose_manifest_changed_is_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("FP32", "FP64"))
    with pytest.raises(SignatureInvalid, match="is not over this manifest"):
        read_signed(folder, TRUSTED)


def test_folder_without_a_signature_is_refused(folder: Path) -> None:
    (folder / "manifest.sig").unlink()
    with pytest.raises(ModelRefused, match=r"manifest\.sig: No such file"):
        read_signed(folder, TRUSTED)


def test_program_that_we_signed_may_be_loaded_while_its_signature_is_there(program: Path) -> None:
    require_program(program, TRUSTED)
    program.with_name(f"{program.name}.sig").unlink()
    with pytest.raises(ModelRefused, match="No such file"):
        require_program(program, TRUSTED)


def test_program_of_a_stranger_is_refused(program: Path) -> None:
    with pytest.raises(SignatureInvalid, match="no trusted key"):
        require_program(program, OTHERS)


def test_program_that_changed_is_refused(program: Path) -> None:
    program.write_bytes(b"Code")
    with pytest.raises(SignatureInvalid, match="is not over this program"):
        require_program(program, TRUSTED)


def test_signature_of_a_manifest_is_none_of_a_program(program: Path, folder: Path) -> None:
    program.write_bytes((folder / "manifest.json").read_bytes())
    program.with_name("model.pt2.sig").write_bytes((folder / "manifest.sig").read_bytes())
    with pytest.raises(SignatureInvalid, match="is not over this program"):
        require_program(program, TRUSTED)


@pytest.mark.parametrize("name", ["model.pt2", "model.pt2.sig"])
def test_program_or_signature_that_is_missing_or_a_link_is_refused(
    program: Path, name: str
) -> None:
    path = program.with_name(name)
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(ModelRefused, match="No such file"):
        require_program(program, TRUSTED)
    path.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(ModelRefused, match="symbolic"):
        require_program(program, TRUSTED)


def test_native_code_is_signed_and_its_signature_is_one_of_the_files(tmp_path: Path) -> None:
    program = tmp_path / "package.pt2"
    program.write_bytes(b"native code")
    files = {program.name: File("0" * 64, 11)}
    signed = sign_native(
        TierReport("torch-compiled-cpu", "fp32", "verified", files=files), tmp_path, KEY
    )
    assert set(signed.files) == {"package.pt2", "package.pt2.sig"}
    require_program(program, TRUSTED)


def test_a_graph_and_what_was_not_made_get_no_signature(tmp_path: Path) -> None:
    graph = TierReport("onnx-cpu", "fp32", "verified", files={"graph.onnx": File("0" * 64, 11)})
    skipped = TierReport("torch-compiled-cpu", "fp32", "skipped", "no C++ compiler")
    for one in (graph, skipped):
        assert sign_native(one, tmp_path, KEY) == one
