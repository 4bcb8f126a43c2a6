"""What tests put into stores, and how they damage it."""

import hashlib
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]  # ships no type information

from chimera.schemas import manifest as manifests
from chimera.schemas.manifest import File, Manifest, TensorSpec
from chimera.schemas.signing import Kind, Trusted, new_key
from chimera.stores.place import Place

KEY = new_key()
TRUSTED = Trusted([KEY.public])


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def overwrite(place: Place, name: str, content: bytes) -> None:
    """Change what lies under a name, past every care."""
    system: Any = fsspec.core.url_to_fs(place.url)[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # untyped
    path = place.path(name)
    if place.is_local:
        Path(path).chmod(0o644)
    system.pipe_file(path, content)


def version_in(folder: Path, version: str = "1", *, model: bytes = b"model") -> tuple[bytes, str]:
    """A folder with a version's files; its manifest and signature, which are not in there."""
    folder.mkdir(parents=True)
    contents = {"model.onnx": model, "labels.json": b"[]"}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    manifest = Manifest(
        "digits",
        version,
        (TensorSpec("x", "FP32", (-1, 2)),),
        (TensorSpec("y", "FP32", (-1, 1)),),
        sha256(model),
        files={name: File(sha256(content), len(content)) for name, content in contents.items()},
    )
    raw = manifests.encode(manifest)
    return raw, KEY.sign(Kind.MANIFEST, raw)
