"""What a witness does with a checkpoint: cosign it, or refuse it; C2SP tlog-witness, add-checkpoint.

    old <size of the checkpoint that it cosigned last>
    <base64 of a hash of the consistency proof> ...
    <empty line>
    <checkpoint>

`decide` is a function of what is stored and what is asked. Who calls it must store what it accepts
before the cosignature leaves, and let nothing come in between: else two requests at once could take
a log back. `tests/schemas/transparency/test_witnessing.py` plays a log against it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chimera.schemas.errors import EvidenceMalformed, EvidenceUntrusted, ProofInvalid
from chimera.schemas.transparency import checkpoints, notes
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.schemas.transparency.merkle import EMPTY_ROOT, verify_consistency
from chimera.schemas.transparency.notes import Note, encode_base64
from chimera.schemas.transparency.sizes import decode_size
from chimera.schemas.transparency.verifier_keys import VerifierKey

MAX_REQUEST_BYTES = notes.MAX_NOTE_BYTES + 4_096
MAX_HASHES = 63
BAD_REQUEST, FORBIDDEN, NOT_FOUND, CONFLICT, UNPROCESSABLE = 400, 403, 404, 409, 422


@dataclass(frozen=True, slots=True)
class Submission:
    """A request: a checkpoint, and that it extends the one of size `old`."""

    old: int
    proof: tuple[bytes, ...]
    note: Note
    checkpoint: Checkpoint

    def encode(self) -> bytes:
        proof = "".join(f"{encode_base64(one)}\n" for one in self.proof)
        return f"old {self.old}\n{proof}\n".encode() + self.note.encode()


@dataclass(frozen=True, slots=True)
class Seen:
    """The head of a log that a witness cosigned last; of a log that is new to it, the empty one."""

    size: int = 0
    root: bytes = EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class Refusal:
    """`status` is HTTP's; `size` stands in a conflict's answer: what the witness has seen."""

    status: int
    reason: str
    size: int | None = None


def decode(raw: bytes) -> Submission:
    """Read a request's body.

    Raises:
        EvidenceMalformed: it is none; a witness answers BAD_REQUEST.
    """
    if len(raw) > MAX_REQUEST_BYTES:
        raise EvidenceMalformed(f"request: {len(raw)} bytes are more than {MAX_REQUEST_BYTES}")
    head, empty_line, rest = raw.partition(b"\n\n")
    first, *hashes = notes.decode_text(head, "request").split("\n")
    if not empty_line or not first.startswith("old "):
        raise EvidenceMalformed("request: is no old size, proof, empty line and checkpoint")
    if len(hashes) > MAX_HASHES:
        raise EvidenceMalformed(f"request: more than {MAX_HASHES} hashes")
    old = decode_size(first.removeprefix("old "), "request: the old size")
    proof = tuple(checkpoints.decode_hash(line, "request: a hash") for line in hashes)
    note = notes.decode(rest)
    return Submission(old, proof, note, checkpoints.decode(note.text))


def decide(submission: Submission, keys: Sequence[VerifierKey], seen: Seen) -> Refusal | None:
    """Why a checkpoint is not cosigned, in the specification's order; None: it is.

    Args:
        keys: of the log that the checkpoint names; none: it is not known.
        seen: the head of that log, which stays what it is until this decision is carried out.
    """
    head = submission.checkpoint
    if not keys:
        return Refusal(NOT_FOUND, f"the log {head.origin!r} is not known here")
    try:
        checkpoints.signers_of(submission.note, keys)
    except EvidenceUntrusted as error:
        return Refusal(FORBIDDEN, str(error))
    if submission.old > head.size:
        return Refusal(BAD_REQUEST, f"old size {submission.old} is past the new, {head.size}")
    if submission.old != seen.size:
        return Refusal(CONFLICT, f"seen last was size {seen.size}", seen.size)
    try:
        verify_consistency(
            seen.size, head.size, submission.proof, old_root=seen.root, new_root=head.root
        )
    except ProofInvalid as error:
        return Refusal(UNPROCESSABLE, str(error))
    return None
