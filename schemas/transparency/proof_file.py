"""Proofs as files (`.tlog-proof`): that one leaf is in the log, for whoever holds the keys.

C2SP tlog-proof. The `extra` line has the leaf's canonical bytes, so that the file says by itself
what was served; they are believed because their hash leads to the root that the checkpoint has.

    c2sp.org/tlog-proof@v1
    extra <base64 of the leaf>
    index <the leaf's>
    <base64 of a hash, from the leaf's sibling to the root's child> ...
    <empty line>
    <checkpoint>

`tests/schemas/transparency/test_proof_file.py` changes every byte of one.
"""

from dataclasses import dataclass

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency import checkpoints, notes
from chimera.schemas.transparency.merkle import leaf_hash, verify_inclusion
from chimera.schemas.transparency.policy import Opened, Policy
from chimera.schemas.transparency.sizes import decode_size

SUFFIX = ".tlog-proof"
MAX_PROOF_BYTES = 4_194_304
MAX_HASHES = 63
_FIRST_LINE = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Proof:
    """`body` is the leaf's bytes, `checkpoint` a signed note."""

    body: bytes
    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        hashes = "".join(f"{notes.encode_base64(one)}\n" for one in self.hashes)
        extra = notes.encode_base64(self.body)
        head = f"{_FIRST_LINE}\nextra {extra}\nindex {self.index}\n{hashes}\n"
        return head.encode() + self.checkpoint

    def verify(self, policy: Policy) -> Opened:
        """The checkpoint in which the leaf is.

        Raises:
            EvidenceRefused: the checkpoint is not to be believed, or does not prove the leaf.
        """
        opened = policy.open_witnessed(self.checkpoint)
        head, leaf = opened.checkpoint, leaf_hash(self.body)
        verify_inclusion(leaf, self.index, self.hashes, size=head.size, root=head.root)
        return opened


def decode(raw: bytes) -> Proof:
    """Read a proof; nothing of it is verified.

    Raises:
        EvidenceMalformed: it is none, or has no leaf in its extra line.
    """
    if len(raw) > MAX_PROOF_BYTES:
        raise EvidenceMalformed(f"proof: {len(raw)} bytes are more than {MAX_PROOF_BYTES}")
    head, empty_line, checkpoint = raw.partition(b"\n\n")
    lines = notes.decode_text(head, "proof").split("\n")
    if lines[0] != _FIRST_LINE or not empty_line:
        raise EvidenceMalformed(f"proof: is no {_FIRST_LINE}")
    if len(lines) < 3 or not lines[1].startswith("extra ") or not lines[2].startswith("index "):
        raise EvidenceMalformed("proof: after its first line come extra, the leaf, and index")
    if len(lines) > 3 + MAX_HASHES:
        raise EvidenceMalformed(f"proof: more than {MAX_HASHES} hashes")
    body = notes.decode_base64(lines[1].removeprefix("extra "), "proof: the leaf")
    index = decode_size(lines[2].removeprefix("index "), "proof: the index")
    hashes = tuple(checkpoints.decode_hash(line, "proof: a hash") for line in lines[3:])
    return Proof(body, index, hashes, checkpoint)
