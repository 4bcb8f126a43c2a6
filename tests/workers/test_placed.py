import asyncio
import hashlib
from pathlib import Path

import psutil
import pytest
from msgspec import structs

from chimera.schemas.errors import ModelRefused, SignatureInvalid
from chimera.schemas.manifest import File
from chimera.schemas.placements import Orders, Placement, Variant
from chimera.schemas.signing import Kind
from chimera.workers.models import write_model
from chimera.workers.placed import find_placed, require_native
from chimera.workers.vouching import sign_program
from tests.workers.hostile_files import KEY, STRANGER
from tests.workers.rig import REAL, Rig, manifest, request, sums, work

OURS, OTHERS = (KEY.public.text,), (STRANGER.public.text,)


@pytest.fixture
def placed(tmp_path: Path) -> Placement:
    """A version of `sums` that we have signed."""
    return signed(write_model(tmp_path, sums(), manifest("sums")))


def signed(folder: Path) -> Placement:
    raw = (folder / "manifest.json").read_bytes()
    (folder / "manifest.sig").write_text(KEY.sign(Kind.MANIFEST, raw))
    digest = hashlib.sha256(raw).hexdigest()
    return Placement(folder.parent.name, folder.name, digest, str(folder), trusted=OURS)


def refusal(placed: Placement) -> str:
    found = find_placed([placed])
    assert found.versions == ()
    return found.refusals[0].reason


def test_signed_version_is_found_under_its_digest(placed: Placement) -> None:
    (version,) = find_placed([placed]).versions
    assert (version.digest, version.manifest.name) == (placed.digest, "sums")


def test_manifest_that_changed_on_the_disk_is_refused(placed: Placement) -> None:
    path = Path(placed.folder) / "manifest.json"
    path.write_bytes(path.read_bytes() + b"\n")
    assert "is not over this manifest" in refusal(placed)


def test_version_of_a_stranger_is_refused(placed: Placement) -> None:
    assert "no trusted key" in refusal(structs.replace(placed, trusted=OTHERS))
    assert "no trusted key" in refusal(structs.replace(placed, trusted=()))


def test_signed_version_under_the_digest_of_another_is_refused(placed: Placement) -> None:
    other = structs.replace(placed, digest="0" * 64)
    assert "is signed, but is not 0000" in refusal(other)


def test_version_in_the_folder_of_another_is_refused(placed: Placement, tmp_path: Path) -> None:
    Path(placed.folder).rename(tmp_path / "sums" / "2")
    moved = structs.replace(placed, version="2", folder=str(tmp_path / "sums" / "2"))
    assert "its folder is sums/2" in refusal(moved)


def test_native_code_needs_a_signature_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "package.pt2"
    path.write_bytes(b"code")
    variant = Variant("torch-compiled-cpu", str(tmp_path), {path.name: File("0" * 64, 4)})
    with pytest.raises(ModelRefused, match="No such file"):
        require_native(variant, OURS)
    sign_program(path, KEY)
    require_native(variant, OURS)
    for nobody in (OTHERS, (), None):
        with pytest.raises(SignatureInvalid, match="no trusted key"):
            require_native(variant, nobody)
    path.write_bytes(b"Code")
    with pytest.raises(SignatureInvalid, match="is not over this program"):
        require_native(variant, OURS)


def test_executor_verifies_what_it_loads_without_torch(placed: Placement, tmp_path: Path) -> None:
    forged = write_model(tmp_path, sums(), manifest("sums", "2"))
    unsigned = structs.replace(signed(forged), trusted=OTHERS)

    async def scenario() -> None:
        async with Rig(tmp_path, REAL, orders=Orders((placed,), {"sums": {"1": 1.0}})) as rig:
            (refused,) = await rig.pool.hold([placed, unsigned])
            assert "no trusted key" in refused.refused
            rig.pool.submit(work([request((1, 2), "sums")]))
            await rig.answered(1)
            assert rig.headers(0)["chimera-model-digest"] == placed.digest.encode()
            (executor,) = rig.pool.executors
            maps = psutil.Process(executor.pid).memory_maps()
            assert not any("torch" in one.path for one in maps)

    asyncio.run(scenario())
