"""Cosignatures: a witness says that it saw a checkpoint, when, and that the log only grew.

C2SP tlog-cosignature, the Ed25519 kind: a signature over `cosignature/v1`, the time and the
checkpoint's whole text, with the time in front of it. One honest witness outside of the operator's
reach turns a fork, a rewritten history or a cut tail into something that can be shown.
`tests/schemas/transparency/test_cosignatures.py` has the specification's own example.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from chimera.schemas.errors import EvidenceUntrusted
from chimera.schemas.signing import SigningKey
from chimera.schemas.transparency.notes import Note, Signature, decode_signatures, decode_text
from chimera.schemas.transparency.verifier_keys import Algorithm, VerifierKey

_TIME_BYTES = 8
MAX_TIME_S = 2**63 - 1


def witness_key(name: str, key: SigningKey) -> VerifierKey:
    """The key of a witness, for those who verify."""
    return VerifierKey(name, Algorithm.COSIGNATURE, key.public.raw)


def cosign(text: str, name: str, key: SigningKey, *, at_s: int) -> Signature:
    """A witness's line under a checkpoint with this text; `at_s` counts from the epoch."""
    raw = at_s.to_bytes(_TIME_BYTES, "big") + key.sign_bytes(_message(text, at_s))
    return Signature(name, witness_key(name, key).key_id, raw)


def cosigned_at(note: Note, key: VerifierKey) -> int | None:
    """When a witness cosigned a checkpoint, in seconds since the epoch; None: it has not.

    Of several times the last. Raises EvidenceUntrusted: a signature that says it is its is wrong.
    """
    found: int | None = None
    for signature in filter(key.is_of, note.signatures):
        at_s = int.from_bytes(signature.raw[:_TIME_BYTES], "big")
        message = _message(note.text, at_s)
        if at_s > MAX_TIME_S or not key.verifies(message, signature.raw[_TIME_BYTES:]):
            raise EvidenceUntrusted(f"the cosignature of {key.name} is not over this note")
        found = max(at_s, found or 0)
    return found


def gathered(note: Note, answer: bytes, keys: Iterable[VerifierKey]) -> Note:
    """A checkpoint with the cosignatures of a witness's answer; lines of other keys are left out.

    Raises:
        EvidenceMalformed: the answer has no signature lines.
        EvidenceUntrusted: none is of these witnesses, or one that says so is not over this note.
    """
    lines = decode_signatures(decode_text(answer, "answer"))
    known = [key for key in keys if cosigned_at(Note(note.text, lines), key) is not None]
    ours = tuple(line for line in lines if any(key.is_of(line) for key in known))
    if not ours:
        raise EvidenceUntrusted("the answer has no cosignature of a witness that is known")
    return Note(note.text, (*note.signatures, *ours))


def moment(at_s: int) -> str:
    """When that was, for people; in seconds since the epoch, whoever said so."""
    try:
        return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{at_s} s after 1970"


def _message(text: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()
