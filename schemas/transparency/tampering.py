"""What may have been done to a log, and where: the words of a verifier's verdict.

Of the rows among themselves: `changed`, `deleted`, `inserted`, `repeated`, `swapped`. Of the rows
beside the log's own count: `omitted` (a request has no leaf, or the count was made up). Of the rows
beside the checkpoints: `cut` (the end is missing), `rewritten` (every hash is right, and the signed
root is another), `unsigned` (past the last checkpoint). Of the checkpoints: `forged` (no trusted
key signed it), `forked` (two histories were signed), `rolled_back` (a longer one was signed
before), `unwitnessed` (too few witnesses have seen it), `stale` (they have not for long: the end may be
missing, checkpoints and all).
`tests/schemas/transparency/test_tampering.py` and `test_verification.py` do each of them to a log.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The most that the evidence shows; who has every key but the witnesses' may hide the rest."""

    CHANGED = "changed"
    DELETED = "deleted"
    INSERTED = "inserted"
    REPEATED = "repeated"
    SWAPPED = "swapped"
    OMITTED = "omitted"
    CUT = "cut"
    REWRITTEN = "rewritten"
    UNSIGNED = "unsigned"
    FORGED = "forged"
    FORKED = "forked"
    ROLLED_BACK = "rolled_back"
    UNWITNESSED = "unwitnessed"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Fault:
    """`index` is the first leaf that is not as it was; `last` the last that may be meant."""

    kind: Kind
    index: int
    last: int
    told: str  # for people

    def __str__(self) -> str:
        where = f"leaf {self.index}"
        if self.last > self.index:
            where = f"leaves {self.index} to {self.last}"
        return f"{where}: {self.kind.replace('_', ' ')}: {self.told}"
