"""Whose word is taken for files that lie here: signatures of versions and of programs.

A version's folder is believed when a trusted key has signed its manifest, which has the digest of
each file. A program (an exported or compiled one) runs code, so it is believed by itself: its
signature, `<file>.sig`, is over its SHA-256, and is checked before anything opens it as a program.
`tests/workers/test_vouching.py`.
"""

import hashlib
import os
from pathlib import Path

from msgspec.structs import replace

from chimera.schemas import manifest as manifests
from chimera.schemas.compile_report import TierReport
from chimera.schemas.errors import ModelRefused, SignatureInvalid
from chimera.schemas.manifest import MANIFEST_FILE, SIGNATURE_FILE, File, Manifest
from chimera.schemas.signing import MAX_TEXT, Kind, SigningKey, Trusted
from chimera.schemas.tiers import BY_NAME
from chimera.workers.models import MAX_MANIFEST_BYTES, read_file


def sign_program(path: Path, key: SigningKey) -> Path:
    """Vouch for a program that was exported or compiled here; the signature's file, `<path>.sig`."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    signature = path.with_name(f"{path.name}.sig")
    signature.write_text(key.sign(Kind.PROGRAM, digest))
    return signature


def sign_native(tier: TierReport, folder: Path, key: SigningKey) -> TierReport:
    """With a signature of its native code, where it has some, beside it and among its files."""
    known = BY_NAME[tier.tier]
    if not known.native or known.file not in tier.files:
        return tier
    signature = sign_program(folder / known.file, key)
    content = signature.read_bytes()
    file = File(hashlib.sha256(content).hexdigest(), len(content))
    return replace(tier, files={**tier.files, signature.name: file})


def require_program(path: Path, trusted: Trusted) -> None:
    """Refuse a program that was not made here, before it is loaded.

    Raises:
        SignatureInvalid: nobody trusted vouches for these bytes.
        ModelRefused: it cannot be read, or no signature lies beside it.
    """
    signature = path.with_name(f"{path.name}.sig")
    text = read_file(signature, MAX_TEXT).decode("ascii", "replace")
    try:
        fileno = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ModelRefused(f"{path}: {error.strerror}") from None
    with os.fdopen(fileno, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    trusted.verify(Kind.PROGRAM, digest, text.removesuffix("\n"), str(signature))


def read_signed(folder: Path, trusted: Trusted, digest: str = "") -> Manifest:
    """The manifest of a version's folder that a trusted key has signed: what is checked at each load.

    `digest`: what the manifest's SHA-256 has to be.

    Raises:
        SignatureInvalid: nobody trusted vouches for it, or it is another version's.
        ModelRefused: no signature lies there.
    """
    raw = read_file(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES)
    text = read_file(folder / SIGNATURE_FILE, MAX_TEXT).decode("ascii", "replace")
    trusted.verify(Kind.MANIFEST, raw, text.removesuffix("\n"), str(folder / SIGNATURE_FILE))
    if digest and hashlib.sha256(raw).hexdigest() != digest:
        raise SignatureInvalid(f"{folder / MANIFEST_FILE}: is signed, but is not {digest}")
    return manifests.decode(raw, str(folder / MANIFEST_FILE))
