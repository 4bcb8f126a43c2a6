"""The proof of a leaf, out of a log that may be anybody's: verified before anybody gets it.

Where it does not lead to the signed root, the log's rows are gone over, from the first on, and the
first that is not what was signed is named. `tests/stores/test_audit_table.py` alters a table in
every way; `tests/integration/test_audit_from_kafka.py` has Kafka's log.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from chimera.schemas.errors import EvidenceAltered, EvidenceMalformed, EvidenceRefused, ProofInvalid
from chimera.schemas.transparency.log_records import Indexed
from chimera.schemas.transparency.merkle import inclusion_ranges, leaf_hash, root
from chimera.schemas.transparency.notes import decode
from chimera.schemas.transparency.policy import Opened, Policy
from chimera.schemas.transparency.proof_file import Proof
from chimera.schemas.transparency.source import LeafSource
from chimera.schemas.transparency.tampering import Kind
from chimera.schemas.transparency.verification import verify

_LOOKED_AT = 64  # checkpoints behind a leaf, for one that many witnesses cosigned


def prove(log: LeafSource, leaf: Indexed, policy: Policy) -> Proof:
    """By one of the first checkpoints that cover it: the one that most cosigned.

    Raises:
        EvidenceAltered: the log's rows are not those that were signed; says which.
        EvidenceMalformed: no checkpoint covers it yet.
        EvidenceUntrusted: none that does is to be believed.
    """
    index = leaf.log_index
    note, opened = _believed(log.covering(index), index, policy)
    size = opened.checkpoint.size
    proof = Proof(leaf.body, index, tuple(log.path(index, size)), note)
    try:
        proof.verify(policy)
    except ProofInvalid as error:
        raise _altered(log, proof, size, policy) or error from None
    return proof


def _believed(notes: Iterator[bytes], index: int, policy: Policy) -> tuple[bytes, Opened]:
    refused: EvidenceRefused | None = None
    while some := list(islice(notes, _LOOKED_AT)):
        for note in sorted(some, key=_signatures, reverse=True):
            try:
                opened = policy.open_witnessed(note)
            except EvidenceRefused as error:
                refused = refused or error
                continue
            if opened.checkpoint.size > index:
                return note, opened
    raise refused or EvidenceMalformed(f"leaf {index}: no checkpoint covers it yet; try again soon")


def _signatures(note: bytes) -> int:
    try:
        return len(decode(note).signatures)
    except EvidenceMalformed:
        return 0


def _signed(log: LeafSource, size: int, policy: Policy) -> Iterator[bytes]:
    """Checkpoints up to this size, so that a rewritten range is told as narrowly as it can be."""
    for note in log.checkpoints():
        with suppress(EvidenceRefused):
            if policy.open(note).checkpoint.size <= size:
                yield note


def _altered(log: LeafSource, proof: Proof, size: int, policy: Policy) -> EvidenceAltered | None:
    """What is wrong with the rows; None: it was, and is not any more."""
    for fault in verify(log.rows(size), list(_signed(log, size, policy)), policy).faults:
        if fault.kind != Kind.OMITTED:  # what has no leaf is on no path
            return EvidenceAltered(fault.index, str(fault))
    hashes = [row.leaf_hash for row in log.rows(size)]
    if hashes[proof.index] != leaf_hash(proof.body):
        return EvidenceAltered(
            proof.index, f"leaf {proof.index}: changed: it was shown with other bytes"
        )
    ranges = inclusion_ranges(proof.index, size)
    for (first, end), found in zip(ranges, proof.hashes, strict=True):
        if root(hashes[first:end]) != found:
            told = f"leaf {end - 1}: what is kept beside it is not the root of {first} to {end - 1}"
            return EvidenceAltered(end - 1, told)
    return None
