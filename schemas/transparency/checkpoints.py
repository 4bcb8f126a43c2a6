"""Checkpoints: a log's tree head, its origin, size and root, as a signed note; C2SP tlog-checkpoint.

    <origin>
    <size>
    <base64 of the root>

A file of checkpoints has one after the other, each followed by an empty line: it is only ever
appended to. `tests/schemas/transparency/test_checkpoints.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from chimera.schemas.errors import EvidenceMalformed, EvidenceUntrusted
from chimera.schemas.signing import SigningKey
from chimera.schemas.transparency import notes
from chimera.schemas.transparency.merkle import HASH_BYTES
from chimera.schemas.transparency.notes import Note, Signature, decode_base64, encode_base64
from chimera.schemas.transparency.sizes import decode_size
from chimera.schemas.transparency.verifier_keys import Algorithm, VerifierKey


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head. `extensions` are lines of others: ours have none."""

    origin: str
    size: int  # leaves
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is signed."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def decode(text: str) -> Checkpoint:
    """Read a note's text.

    Raises:
        EvidenceMalformed: it is no checkpoint.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() != "" or "" in lines:
        raise EvidenceMalformed("checkpoint: it has origin, size and root, each on a line")
    size = decode_size(lines[1], "checkpoint: its size")
    root = decode_hash(lines[2], "checkpoint: its root")
    return Checkpoint(lines[0], size, root, tuple(lines[3:]))


def claimed(raw: bytes) -> Checkpoint | None:
    """What a note says of its log, whoever wrote it; None: it is no checkpoint."""
    try:
        return decode(notes.decode(raw).text)
    except EvidenceMalformed:
        return None


def decode_hash(text: str, what: str) -> bytes:
    """A SHA-256 in base64. Raises EvidenceMalformed: it is none."""
    raw = decode_base64(text, what)
    if len(raw) != HASH_BYTES:
        raise EvidenceMalformed(f"{what}: is no SHA-256 but {len(raw)} bytes")
    return raw


def sign(checkpoint: Checkpoint, key: SigningKey) -> Note:
    """A note with the log's own signature; the key's name is the origin."""
    public = log_key(checkpoint.origin, key)
    raw = key.sign_bytes(checkpoint.text.encode())
    return Note(checkpoint.text, (Signature(public.name, public.key_id, raw),))


def log_key(origin: str, key: SigningKey) -> VerifierKey:
    """The key of a log, for those who verify."""
    return VerifierKey(origin, Algorithm.NOTE, key.public.raw)


def signers_of(note: Note, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
    """Those of a log's keys that signed a note; signatures of other keys are ignored.

    Raises:
        EvidenceUntrusted: none of them did, or a signature that says so is wrong.
    """
    found: list[VerifierKey] = []
    for key in keys:
        for signature in filter(key.is_of, note.signatures):
            if not key.verifies(note.text.encode(), signature.raw):
                raise EvidenceUntrusted(f"the signature of {key.name} is not over this note")
            found.append(key)
    if not found:
        raise EvidenceUntrusted("no trusted key of this log has signed the note")
    return found


def split(raw: bytes) -> list[bytes]:
    """The notes in a file of checkpoints, each as it was signed.

    Raises:
        EvidenceMalformed: a checkpoint without signatures, or the last one is cut.
    """
    if not raw:
        return []
    *blocks, rest = raw.split(b"\n\n")
    if len(blocks) % 2 or rest:
        raise EvidenceMalformed("checkpoints: the last one is cut, or no empty line is under it")
    bodies, signatures = blocks[::2], blocks[1::2]
    return [body + b"\n\n" + under + b"\n" for body, under in zip(bodies, signatures, strict=True)]


def split_held(raw: bytes) -> list[bytes]:
    """The same, where the last may be without its empty line: a single note is a file too.

    Raises:
        EvidenceMalformed: as for `split`.
    """
    return split(raw if raw.endswith(b"\n\n") else raw + b"\n")


def join(notes: Iterable[bytes]) -> bytes:
    """A file of checkpoints."""
    return b"".join(note + b"\n" for note in notes)
