"""Whom an auditor believes: the log's keys, each for its range of sizes, and which witnesses.

A checkpoint is good if a key of its log signed it, at a size that is the key's, and enough
witnesses cosigned it. `policy_file` reads policies as C2SP tlog-policy writes them.
`tests/schemas/transparency/test_policy.py`.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from chimera.schemas.errors import EvidenceRefused, EvidenceUntrusted
from chimera.schemas.transparency import checkpoints, notes
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.schemas.transparency.cosignatures import cosigned_at
from chimera.schemas.transparency.merkle import EMPTY_ROOT, MAX_SIZE
from chimera.schemas.transparency.verifier_keys import VerifierKey

NONE = "none"  # the quorum that needs no witness


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key of a log, and the sizes of the trees that it may sign, both included."""

    key: VerifierKey
    first_size: int = 0
    last_size: int = MAX_SIZE


@dataclass(frozen=True, slots=True)
class Group:
    """As good as a witness, once `needed` of its members are."""

    needed: int
    members: tuple[str, ...]  # witnesses or groups


@dataclass(frozen=True, slots=True)
class Opened:
    """A checkpoint that a key of the log signed."""

    checkpoint: Checkpoint
    key: VerifierKey
    cosigned_at_s: Mapping[str, int]  # by the policy's name of a witness, since the epoch
    is_witnessed: bool  # by as many as the quorum needs
    seen_at_s: (
        int | None
    )  # when the quorum saw it last, since the epoch; none: it did not, or none is wanted


@dataclass(frozen=True, slots=True)
class Policy:
    """Which checkpoints are believed; with no quorum the log's own signature is enough."""

    logs: tuple[LogKey, ...]
    witnesses: Mapping[str, VerifierKey] = field(default_factory=dict[str, VerifierKey])
    groups: Mapping[str, Group] = field(default_factory=dict[str, Group])
    quorum: str = NONE

    def open(self, raw: bytes) -> Opened:
        """Read a checkpoint and verify the log's signature, and those of the witnesses.

        Raises:
            EvidenceMalformed: it is no checkpoint.
            EvidenceUntrusted: no key of its log, in its range, signed it, or a signature is wrong.
        """
        note = notes.decode(raw)
        checkpoint = checkpoints.decode(note.text)
        keys = [one.key for one in self.logs if one.key.name == checkpoint.origin]
        if not keys:
            raise EvidenceUntrusted(f"no key of the log {checkpoint.origin!r} is trusted")
        signers = checkpoints.signers_of(note, keys)
        in_range = [key for key in signers if self._covers(key, checkpoint.size)]
        if not in_range:
            ids = ", ".join(key.key_id.hex() for key in signers)
            raise EvidenceUntrusted(f"key {ids} may not sign a tree of {checkpoint.size}")
        if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            raise EvidenceUntrusted("the root of size 0 is not that of the empty tree")
        times = {name: cosigned_at(note, key) for name, key in self.witnesses.items()}
        seen = {name: at_s for name, at_s in times.items() if at_s is not None}
        is_good = self._is_good(self.quorum, seen)
        return Opened(checkpoint, in_range[0], seen, is_good, self._last(seen))

    def open_witnessed(self, raw: bytes) -> Opened:
        """The same, where too few witnesses are refused too.

        Raises:
            EvidenceRefused: as for `open`, or too few witnesses cosigned it.
        """
        opened = self.open(raw)
        if not opened.is_witnessed:
            names = ", ".join(opened.cosigned_at_s) or "none"
            raise EvidenceUntrusted(f"the quorum {self.quorum} is not there: cosigned by {names}")
        return opened

    def size_of(self, published: Iterable[bytes]) -> int | None:
        """Of the largest tree that one of these notes signs; None: none of them is believed.

        Anybody may have written the others: whatever they say, it is not gone over.
        """
        said = [(head.size, raw) for raw in published if (head := checkpoints.claimed(raw))]
        for size, raw in sorted(said, reverse=True):
            with suppress(EvidenceRefused):
                self.open(raw)
                return size
        return None

    def _last(self, seen: Mapping[str, int]) -> int | None:
        """The latest moment since which cosignatures are enough."""
        if self.quorum == NONE:
            return None
        for since_s in sorted({*seen.values()}, reverse=True):
            later = {name: at_s for name, at_s in seen.items() if at_s >= since_s}
            if self._is_good(self.quorum, later):
                return since_s
        return None

    def _is_good(self, name: str, seen: Mapping[str, int]) -> bool:
        if name == NONE or name in seen:
            return True
        group = self.groups.get(name)
        if group is None:
            return False
        return sum(self._is_good(member, seen) for member in group.members) >= group.needed

    def _covers(self, key: VerifierKey, size: int) -> bool:
        of_key = (one for one in self.logs if one.key == key)
        return any(one.first_size <= size <= one.last_size for one in of_key)
