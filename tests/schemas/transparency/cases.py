"""A good log of 40 leaves as an auditor gets it, to be altered; its policy wants two of three witnesses."""

from dataclasses import dataclass, field

from chimera.schemas.transparency.leaves import encode_leaf
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.tampering import Fault
from chimera.schemas.transparency.verification import Verdict, verify
from tests.schemas.transparency.logs import Log, make_log, make_policy, served

COUNT = 40
SIZES = (0, 7, 16, 32, COUNT)
LOG = make_log(COUNT)
POLICY = make_policy(2)
OTHER = encode_leaf(served(99, outcome="model_error"))


def checkpoints_of(log: Log, sizes: tuple[int, ...] = SIZES) -> list[bytes]:
    return [log.checkpoint(size, "w1", "w3") for size in sizes]


@dataclass
class Case:
    """What the auditor gets."""

    rows: list[Row] = field(default_factory=LOG.rows)
    published: list[bytes] = field(default_factory=lambda: checkpoints_of(LOG))
    held: list[bytes] = field(default_factory=list[bytes])
    since_s: int | None = None

    def verdict(self) -> Verdict:
        return verify(iter(self.rows), self.published, POLICY, self.held, since_s=self.since_s)

    def fault(self) -> Fault:
        """The first."""
        return self.verdict().faults[0]
