"""Versions of models in the store: signed manifests, and folders that can be served.

    manifests/<digest>/manifest.json      the bytes that were signed; their SHA-256 is the digest
    manifests/<digest>/<key id>.sig       one signature a key, so that keys can be replaced

A version is stored once all of its files are. Nothing of it is read before a trusted signature over
its manifest was; then each file is compared with the digest in there. A folder to serve from appears
by one rename, and is compared again each time it is asked for. `tests/stores/test_versions.py`.
"""

import hashlib
import re
import secrets
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ArtifactDamaged, ArtifactMissing, ModelRefused, SignatureInvalid
from chimera.schemas.manifest import MANIFEST_FILE, SIGNATURE_FILE, Manifest
from chimera.schemas.signing import MAX_TEXT, Kind, Trusted
from chimera.stores.artifacts import Artifacts

MANIFESTS = "manifests"
MAX_MANIFEST_BYTES = 1 << 20
DRAFT_LIFE_S = 3_600  # of a folder that is being filled; longer, and its process is gone
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SIGNATURE_NAME = re.compile(r"ed25519:([0-9a-f]{32}):")


@dataclass(frozen=True, slots=True)
class Signed:
    """A manifest that a trusted key has signed: its stored bytes and what they say."""

    raw: bytes
    signature: str
    manifest: Manifest


class Versions:
    """The versions in a store of artifacts."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts, self._place = artifacts, artifacts.place

    def add(self, folder: Path, manifest: bytes, signature: str) -> str:
        """Store the files of a folder, then their manifest; the version's digest.

        Raises:
            ModelRefused: a file is not the one that the manifest names: it changed since.
            ArtifactsUnavailable: the store failed; what it already has is found again.
        """
        for name, file in _files(manifest).items():
            found = self._artifacts.put(folder / name)
            if found != file:
                raise ModelRefused(
                    f"{folder / name}: SHA-256 is {found.sha256}, the manifest names {file.sha256}"
                )
        return self.put_manifest(manifest, signature)

    def put_manifest(self, manifest: bytes, signature: str) -> str:
        """Store a manifest, whose files are there; the version's digest.

        Raises:
            ModelRefused: it is no manifest, or names no files.
            ArtifactMissing: one of its files is not stored. SignatureInvalid: not even a signature.
        """
        for name, file in _files(manifest).items():
            if not self._artifacts.has(file.sha256):
                raise ArtifactMissing(f"{name}: {file.sha256} is not stored")
        key = _SIGNATURE_NAME.match(signature)
        if key is None or len(signature) > MAX_TEXT:
            raise SignatureInvalid(f"{SIGNATURE_FILE}: is no signature")
        digest = hashlib.sha256(manifest).hexdigest()
        for name, content in ((f"{key[1]}.sig", signature.encode()), (MANIFEST_FILE, manifest)):
            with self._place.incoming() as draft:
                draft.write(content)
                draft.publish(f"{MANIFESTS}/{digest}/{name}")
        return digest

    def has(self, digest: str) -> bool:
        return self._place.exists(_named(digest, MANIFEST_FILE))

    def read(self, digest: str, trusted: Trusted) -> Signed:
        """A version's manifest, once a trusted signature over it was found.

        Raises:
            ArtifactMissing, ArtifactDamaged, SignatureInvalid, ModelRefused, ArtifactsUnavailable.
        """
        raw = self.stored(digest)
        last = SignatureInvalid(f"version {digest}: not signed by any of {len(trusted)} keys")
        for key in trusted:
            try:
                text = self._place.read(_named(digest, f"{key.key_id}.sig"), MAX_TEXT)
                signature = text.decode("ascii", "replace")
                trusted.verify(Kind.MANIFEST, raw, signature, f"version {digest}")
            except ArtifactMissing:
                continue
            except SignatureInvalid as error:
                last = error
                continue
            return Signed(raw, signature, manifests.decode(raw, f"version {digest}"))
        raise last

    def stored(self, digest: str) -> bytes:
        """A manifest's bytes, whoever signed them. Raises ArtifactMissing, ArtifactDamaged."""
        raw = self._place.read(_named(digest, MANIFEST_FILE), MAX_MANIFEST_BYTES)
        if hashlib.sha256(raw).hexdigest() != digest:
            raise ArtifactDamaged(f"{self._place.url}: manifest {digest} holds other bytes")
        return raw

    def materialize(self, digest: str, models_dir: Path, trusted: Trusted) -> Path:
        """The folder `<name>/<version>` of a version, to be served from.

        Raises:
            SignatureInvalid: nobody trusted vouches for it; nothing was written.
            ModelRefused: another version lies there under its name.
            ArtifactMissing, ArtifactDamaged, ArtifactsUnavailable. OSError: the folder failed.
        """
        signed = self.read(digest, trusted)
        folder = models_dir / signed.manifest.name / signed.manifest.version
        if _is_whole(folder, signed):
            return folder
        with _draft(folder) as draft:
            for name, file in _files(signed.raw).items():
                self._artifacts.copy(file.sha256, draft / name)
            (draft / SIGNATURE_FILE).write_text(signed.signature)
            (draft / MANIFEST_FILE).write_bytes(signed.raw)
            _put_in_place(draft, folder)
        if not _is_whole(folder, signed):
            raise ModelRefused(f"{folder}: changed while it was made")
        return folder


def _files(raw: bytes) -> dict[str, manifests.File]:
    found = manifests.decode(raw, MANIFEST_FILE)
    if not found.files:
        raise ModelRefused(f"{MANIFEST_FILE}: names no files: pack the version first")
    return found.files


def _named(digest: str, name: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ArtifactMissing(f"{digest[:80]!r} is no version's digest")
    return f"{MANIFESTS}/{digest}/{name}"


def _is_whole(folder: Path, signed: Signed) -> bool:
    """Whether a folder holds just this version, each file as it was signed.

    Raises:
        ModelRefused: it holds something else, which is left alone.
    """
    if not folder.exists():
        return False
    manifest = folder / MANIFEST_FILE
    if not manifest.exists() or manifest.read_bytes() != signed.raw:
        raise ModelRefused(f"{folder}: holds something else under the same name and version")
    expected = {*signed.manifest.files, MANIFEST_FILE, SIGNATURE_FILE}
    entries = list(folder.iterdir())
    if {entry.name for entry in entries} != expected or any(map(Path.is_symlink, entries)):
        return False
    try:
        for name, file in signed.manifest.files.items():
            with (folder / name).open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
                    return False
        return (folder / SIGNATURE_FILE).read_text() == signed.signature
    except FileNotFoundError:
        return False


@contextmanager
def _draft(folder: Path) -> Generator[Path]:
    """A folder beside it that begins with a dot: nobody serves from it. Old ones are cleared."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{folder.name}.*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > DRAFT_LIFE_S:
                shutil.rmtree(left, ignore_errors=True)
    draft = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put_in_place(draft: Path, folder: Path) -> None:
    """By one rename; a damaged folder of the same version steps aside first."""
    with suppress(OSError):
        draft.rename(folder)
        return
    aside = draft.with_name(f"{draft.name}.old")
    with suppress(FileNotFoundError):
        folder.rename(aside)
    with suppress(OSError):  # another process was first: what lies there is compared next
        draft.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)
