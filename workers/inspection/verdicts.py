"""What the confined process is asked, and what it answers: JSON both ways, no object of either side.

`tests/workers/test_inspection.py`.
"""

from pathlib import Path

import msgspec

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ChimeraError, ModelRefused, SignatureInvalid
from chimera.schemas.manifest import MANIFEST_FILE, Manifest
from chimera.workers.inspection.rules import Rules

_ERRORS: dict[str, type[ModelRefused]] = {
    "ModelRefused": ModelRefused,
    "SignatureInvalid": SignatureInvalid,
}


class Question(msgspec.Struct, frozen=True):
    folder: str
    rules: Rules


class Verdict(msgspec.Struct, frozen=True):
    """A manifest, or an error of the tree and why."""

    manifest: str = ""
    error: str = ""
    reason: str = ""


def judged(question: bytes) -> bytes:
    """Inspect a folder and say what was found: in the confined process."""
    from chimera.workers.inspection.version import Inspection

    asked = msgspec.json.decode(question, type=Question)
    try:
        found = Inspection(Path(asked.folder), asked.rules).result
        verdict = Verdict(manifest=manifests.encode(found).decode())
    except ChimeraError as error:
        verdict = Verdict(error=type(error).__name__, reason=str(error))
    except MemoryError:
        verdict = Verdict(error="ModelRefused", reason="reading it takes more memory than allowed")
    return msgspec.json.encode(verdict)


def accepted(answer: bytes, folder: Path) -> Manifest:
    """The manifest of a verdict, checked again: the process that wrote it may be a stranger's.

    Raises:
        ModelRefused: so the verdict says, or it is none.
    """
    try:
        verdict = msgspec.json.decode(answer, type=Verdict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ModelRefused(f"{folder}: the inspection gave no verdict") from None
    if verdict.error:
        error = _ERRORS.get(verdict.error, ModelRefused)
        raise error(f"{folder}/{verdict.reason}")
    return manifests.decode(verdict.manifest.encode(), str(folder / MANIFEST_FILE))
