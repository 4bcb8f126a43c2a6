"""The content of models: files by their SHA-256, in a folder or wherever fsspec reaches.

    blobs/<first two digits>/<sha256>

A blob appears whole or not at all, under the digest of the bytes that were written; writing it again
replaces it by the same, which also heals one that rotted and makes it young for `garbage`. What is
read is hashed while it is read: bytes that are not those of their digest are never handed out.
`tests/stores/test_artifacts.py`; `test_artifacts_killed.py` ends writers with SIGKILL.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from chimera.schemas.errors import ArtifactDamaged, ArtifactMissing
from chimera.schemas.manifest import File
from chimera.stores import gentle_file
from chimera.stores.place import Place

READ_BYTES = 1 << 20
BLOBS = "blobs"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Artifacts:
    """A store. Its methods block, and may be called from several threads and processes."""

    def __init__(self, url: str, cache_dir: Path) -> None:
        """`cache_dir` takes what `get` brings from elsewhere. Raises ConfigurationError."""
        self.place = Place(url)
        self._cache_dir = cache_dir.expanduser().absolute()

    def put(self, source: Path | IO[bytes]) -> File:
        """Store all bytes of a file or of a stream, from where it stands.

        Raises:
            ArtifactsUnavailable: the store failed; nothing appeared. OSError: the source did.
        """
        if isinstance(source, Path):
            with source.open("rb") as file:
                return self.put(file)
        digest, size = hashlib.sha256(), 0
        with self.place.incoming() as draft:
            while part := source.read(READ_BYTES):
                digest.update(part)
                size += len(part)
                draft.write(part)
            draft.publish(name_of(digest.hexdigest()))
        return File(digest.hexdigest(), size)

    def has(self, digest: str) -> bool:
        """Whether it is stored; its bytes are looked at when they are read."""
        return _DIGEST.fullmatch(digest) is not None and self.place.exists(name_of(digest))

    def get(self, digest: str) -> Path:
        """A file to read, and not to change: the store's own, or a copy in the cache.

        Raises:
            ArtifactMissing, ArtifactDamaged, ArtifactsUnavailable.
        """
        if self.place.is_local:
            path = Path(self.place.path(name_of(digest)))
            for _ in self._parts(digest):
                pass
            return path
        cached = self._cache_dir / digest[:2] / digest
        if not _holds(cached, digest):
            cached.parent.mkdir(parents=True, exist_ok=True)
            self.copy(digest, cached)
        return cached

    def copy(self, digest: str, target: Path) -> None:
        """Write a blob to a read-only file, whole or not at all.

        Raises:
            ArtifactMissing, ArtifactDamaged, ArtifactsUnavailable. OSError: the target failed.
        """
        draft = target.with_name(f".{target.name[:64]}.{secrets.token_hex(4)}")
        try:
            with draft.open("xb") as file:
                os.fchmod(file.fileno(), 0o444)
                gentle_file.write(file, self._parts(digest))
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def _parts(self, digest: str) -> Iterator[bytes]:
        """A blob's bytes; the end is only reached if they were the right ones."""
        found = hashlib.sha256()
        with self.place.reading(name_of(digest)) as file:
            while part := file.read(READ_BYTES):
                found.update(part)
                yield part
        if found.hexdigest() != digest:
            raise ArtifactDamaged(
                f"{self.place.url}: {name_of(digest)} holds other bytes, of {found.hexdigest()};"
                " store the file again to heal it"
            )


def name_of(digest: str) -> str:
    """Where a blob lies. Raises ArtifactMissing: nothing can lie under what is no digest."""
    if not _DIGEST.fullmatch(digest):
        raise ArtifactMissing(f"{digest[:80]!r} is no SHA-256 in lower-case hexadecimal")
    return f"{BLOBS}/{digest[:2]}/{digest}"


def _holds(path: Path, digest: str) -> bool:
    """Whether a file of the cache is there, and still what it was."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except FileNotFoundError:
        return False
