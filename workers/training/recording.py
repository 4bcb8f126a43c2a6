"""A finished run's record: signed where there is a key, in its folder and in the history.

    manifest.json    the manifest, its signature in it
    history.jsonl    the same line

The manifest names its weights by SHA-256, so a signature vouches for them, too. Whoever trains without
a key leaves a draft, a manifest.json of which the history knows nothing yet. A run that was ended
between the two files is recorded again when it resumes: the history has it once.
`tests/workers/training/test_recording.py`.
"""

import hashlib
from pathlib import Path

import msgspec

from chimera.schemas.errors import SignatureInvalid, TrainingRefused
from chimera.schemas.signing import SigningKey
from chimera.schemas.training_manifest import (
    TrainingManifest,
    decode_manifest,
    encode_manifest,
    sign,
)
from chimera.workers.training import history
from chimera.workers.training.folder import MANIFEST, WEIGHTS


def record(runs: Path, manifest: TrainingManifest, key: SigningKey | None) -> TrainingManifest:
    """Sign it if there is a key, and write it down; what was written."""
    signed = manifest if key is None else sign(manifest, key)
    write(runs, signed)
    history.add(runs, signed)
    return signed


def write(runs: Path, manifest: TrainingManifest) -> None:
    """Into the run's folder alone, whole or not at all."""
    path = runs / manifest.run_id / MANIFEST
    writing = path.with_suffix(".writing")
    writing.write_bytes(encode_manifest(manifest))
    writing.replace(path)


def line(runs: Path, run_id: str) -> bytes:
    """A run's line of the history, as it stands there. Raises TrainingRefused: it has none."""
    for manifest, raw in history.entries(runs):
        if manifest.run_id == run_id:
            return raw
    raise TrainingRefused(f"there is no finished run {run_id}")


def require_whole(runs: Path, raw: bytes) -> None:
    """The run's own files are those of the line.

    Raises:
        SignatureInvalid: its manifest or its weights are other ones.
    """
    manifest = decode_manifest(raw)
    folder = runs / manifest.run_id
    try:
        if msgspec.json.decode((folder / MANIFEST).read_bytes()) != msgspec.json.decode(raw):
            raise SignatureInvalid(f"{folder / MANIFEST}: is not what the history has")
        with (folder / WEIGHTS).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, msgspec.DecodeError) as error:
        raise SignatureInvalid(f"run {manifest.run_id}: {error}") from None
    if found != manifest.weights_sha256:
        raise SignatureInvalid(f"{folder / WEIGHTS}: has not the digest that the manifest has")
