"""A folder that a person or a training has made, into a version that can be registered.

    model.onnx or model.safetensors, manifest.json ...   inspected, in a process that can do no harm
    manifest with each file's digest and size            signed

Nothing is stored here, and the folder stays as it is unless `write` is asked to complete it. A
version's digest is the SHA-256 of its manifest's bytes. `tests/workers/test_packing.py`.
"""

import hashlib
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import MANIFEST_FILE, SIGNATURE_FILE, Manifest
from chimera.schemas.signing import Kind, SigningKey
from chimera.workers.inspection.inspector import inspect
from chimera.workers.inspection.rules import Rules


@dataclass(frozen=True, slots=True)
class Packed:
    """A version that is ready: `raw` are the manifest's bytes, as they are signed and stored."""

    folder: Path
    manifest: Manifest
    raw: bytes
    signature: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()

    def write(self) -> None:
        """Put the complete manifest and its signature into the folder."""
        for name, content in (
            (SIGNATURE_FILE, self.signature.encode()),
            (MANIFEST_FILE, self.raw),
        ):
            draft = self.folder / f".{name}.{secrets.token_hex(4)}"
            draft.write_bytes(content)
            draft.replace(self.folder / name)


def pack(folder: Path, key: SigningKey, rules: Rules) -> Packed:
    """Inspect a folder, complete its manifest and sign it.

    Raises:
        ModelRefused: a file may not be served, or the manifest is not theirs.
        ConfigurationError: the list of definitions has a line that is none.
    """
    found = inspect(folder, rules)
    raw = manifests.encode(found)
    return Packed(folder, found, raw, key.sign(Kind.MANIFEST, raw))


def write_folder(folder: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Path:
    """Make a folder to be packed, whole or not at all: what training code calls with its results.

    The manifest's digests are left out: packing fills them in. A path is copied.

    Raises:
        ModelRefused: the folder is there already, or a file's name is none.
    """
    for name in files:
        if not manifests.is_file_name(name):
            raise ModelRefused(f"{name!r} is no plain file name")
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    draft.mkdir(parents=True)
    try:
        for name, content in files.items():
            if isinstance(content, Path):
                shutil.copyfile(content, draft / name)
            else:
                (draft / name).write_bytes(content)
        (draft / MANIFEST_FILE).write_bytes(manifests.encode_draft(manifest))
        draft.rename(folder)
    except OSError as error:
        raise ModelRefused(f"{folder}: {error.strerror}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder
