"""The audit log taken away and verified, and a copy of it that somebody has written in.

    export ── verified: ok
      └── copy: one leaf says that another version answered ── verified: that leaf is named

Offline: nothing but the folder and the keys that are believed. `tests/cli/demoing/test_evidence.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from chimera.cli.demoing.failure import DemoFailed
from chimera.cli.demoing.versions import GOOD, WORSE
from chimera.schemas.transparency import policy_file, verification
from chimera.schemas.transparency.leaves import RequestServed, decode_leaf, encode_leaf
from chimera.schemas.transparency.policy import Policy
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.tampering import Kind
from chimera.schemas.transparency.verification import Verdict

EXPORT, COPY = "audit", "audit-altered"


@dataclass(frozen=True, slots=True)
class Evidence:
    policy: Policy
    verdict: Verdict  # over the log
    altered: int  # the leaf of the copy that is not as it was
    found: Verdict  # over the copy

    @property
    def is_good(self) -> bool:
        """All of the log is signed and witnessed, and the verifier names what was altered."""
        whole = self.verdict
        is_whole = whole.is_good and whole.leaves == whole.signed_size == whole.witnessed_size
        return is_whole and self.is_named

    @property
    def is_named(self) -> bool:
        return any(
            fault.kind is Kind.CHANGED and fault.index == fault.last == self.altered
            for fault in self.found.faults
        )


def examine(folder: Path, copy: Path) -> Evidence:
    """Verify an export, and then a copy with one row altered.

    Raises:
        DemoFailed: the second version has answered nothing. EvidenceMalformed: it is no export.
    """
    from chimera.stores import audit_export  # pyarrow takes a second: not while the demo starts

    path = folder / audit_export.POLICY_FILE
    raw = path.read_bytes()
    policy = policy_file.decode(raw, str(path))
    notes, whole = audit_export.read_checkpoints(folder), list(audit_export.read_rows(folder))
    verdict = verification.verify(whole, notes, policy)
    at = _answered(whole, WORSE)
    audit_export.write(copy, [*whole[:at], _altered(whole[at]), *whole[at + 1 :]], notes, raw)
    found = verification.verify(audit_export.read_rows(copy), notes, policy)
    return Evidence(policy, verdict, at, found)


def _answered(leaves: Sequence[Row], version: str) -> int:
    """The first leaf of a request that it has answered."""
    for at, row in enumerate(leaves):
        leaf = decode_leaf(row.body)
        if isinstance(leaf, RequestServed) and leaf.version == version:
            return at
    raise DemoFailed(f"no leaf of the audit log says that {version} has answered")


def _altered(row: Row) -> Row:
    """As if it had been the other version; hashes stay what they were."""
    leaf = decode_leaf(row.body)
    assert isinstance(leaf, RequestServed)  # `_answered` found it
    return row._replace(body=encode_leaf(replace(leaf, version=GOOD)))
