"""A version that lies elsewhere, brought here to be looked at: by a URL that somebody else has named.

    manifest.json   has the digest that was named       manifest.sig   a trusted key's, over it
    each file       no larger than the manifest says, and with its digest

Only URLs below the prefixes of the settings are opened; a link in a local folder leads nowhere, and
HTTP redirects are not followed. What was brought has not been inspected yet, and is in no store.
`tests/stores/test_sources.py`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (fsspec ships no type information)

import hashlib
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import fsspec  # type: ignore[import-untyped]  # ships no type information

from chimera.schemas import manifest as manifests
from chimera.schemas import urls
from chimera.schemas.errors import (
    ArtifactDamaged,
    ArtifactMissing,
    ArtifactsUnavailable,
    ChimeraError,
    ModelRefused,
    SchemaInvalid,
)
from chimera.schemas.manifest import MANIFEST_FILE, SIGNATURE_FILE, File
from chimera.schemas.signing import MAX_TEXT, Kind, Trusted
from chimera.stores.versions import MAX_MANIFEST_BYTES, Signed

READ_BYTES = 1 << 20
SETTING = "CHIMERA_ARTIFACTS__SOURCES"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where versions may be brought from; `prefixes` of fsspec URLs, none: from nowhere."""

    prefixes: tuple[str, ...]
    trusted: Trusted
    max_file_bytes: int

    def bring(self, url: str, digest: str, folder: Path) -> Signed:
        """Fill an empty folder with the version whose manifest has this digest.

        Raises:
            ModelRefused: the URL is not allowed, or the version is too large.
            ArtifactMissing, ArtifactDamaged, SignatureInvalid, ArtifactsUnavailable.
            ConfigurationError: a prefix is none.
        """
        allowed = [urls.folder(prefix, SETTING) for prefix in self.prefixes]
        base = url.rstrip("/")
        try:
            urls.require_under(base, allowed, f"source {url[:200]!r}")
        except SchemaInvalid as error:
            raise ModelRefused(f"{error} ({SETTING})") from None
        signed = self._signed(base, digest, allowed)
        for name, file in signed.manifest.files.items():
            if file.size_bytes > self.max_file_bytes:
                raise ModelRefused(
                    f"{name}: {file.size_bytes} bytes, at most {self.max_file_bytes}"
                )
        for name, file in signed.manifest.files.items():
            with opened(f"{base}/{name}", allowed) as source, (folder / name).open("xb") as target:
                _copy(source, target, file, f"{base}/{name}")
        (folder / MANIFEST_FILE).write_bytes(signed.raw)
        (folder / SIGNATURE_FILE).write_text(signed.signature)
        return signed

    def _signed(self, base: str, digest: str, allowed: Sequence[str]) -> Signed:
        with opened(f"{base}/{MANIFEST_FILE}", allowed) as file:
            raw = file.read(MAX_MANIFEST_BYTES)
        if hashlib.sha256(raw).hexdigest() != digest:
            raise ArtifactDamaged(f"{base}/{MANIFEST_FILE}: is not {digest}")
        with opened(f"{base}/{SIGNATURE_FILE}", allowed) as file:
            signature = file.read(MAX_TEXT).decode("ascii", "replace").removesuffix("\n")
        self.trusted.verify(Kind.MANIFEST, raw, signature, f"{base}/{SIGNATURE_FILE}")
        return Signed(raw, signature, manifests.decode(raw, f"{base}/{MANIFEST_FILE}"))


@contextmanager
def opened(url: str, allowed: Sequence[str], setting: str = SETTING) -> Generator[IO[bytes]]:
    """A file to read; whatever a storage's client raises is one of the tree's errors."""
    try:
        if url.startswith("file://"):
            _require_inside(url, allowed, setting)
        options = {"allow_redirects": False} if url.startswith("http") else {}
        system, path = fsspec.core.url_to_fs(url)
        with system.open(path, "rb", **options) as file:
            yield file
    except ChimeraError:
        raise
    except FileNotFoundError:
        raise ArtifactMissing(f"{url}: there is nothing") from None
    except Exception as error:  # a storage's client may raise anything
        raise ArtifactsUnavailable(f"{url}: {type(error).__name__}: {error}") from error


def _require_inside(url: str, allowed: Sequence[str], setting: str) -> None:
    """Refuse a local file that a link has put below a prefix. Raises ModelRefused."""
    real = os.path.realpath(urlsplit(url).path)
    places = [os.path.realpath(urlsplit(one).path) for one in allowed if url.startswith(one)]
    if not any(os.path.commonpath((real, place)) == place for place in places):
        raise ModelRefused(f"{url}: a link leads out of what is allowed ({setting})")


def _copy(source: IO[bytes], target: IO[bytes], file: File, name: str) -> None:
    found, left = hashlib.sha256(), file.size_bytes + 1
    while left and (part := source.read(min(READ_BYTES, left))):
        found.update(part)
        target.write(part)
        left -= len(part)
    if found.hexdigest() != file.sha256:
        raise ArtifactDamaged(f"{name}: holds other bytes than its manifest says")
