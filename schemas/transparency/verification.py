"""The offline verifier: rows of a log beside its checkpoints, with whom to believe.

Every hash is computed again from the stored bytes. The rows must have exactly the roots that the
checkpoints sign, to the last row; with a quorum, the last checkpoint must be witnessed; and no
reconciliation in the log may miss a request (`lanes`). What the auditor brought himself, from a
witness or from an earlier visit, counts as much: it is what finds a history that was rewritten and
signed again with the log's own key. A log that was cut together with its checkpoints is what it was
once: only its age tells, by the witnesses' clocks, since none cosigns a log that became shorter.
Pure; nothing is fetched.
`tests/schemas/transparency/test_verification.py` does to a history whatever can be done to it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from chimera.schemas.errors import EvidenceRefused
from chimera.schemas.transparency.cosignatures import moment
from chimera.schemas.transparency.policy import NONE, Opened, Policy
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.scan import Begins, KeyUse, Scan, Span, Unreconciled, scan
from chimera.schemas.transparency.tampering import Fault, Kind


@dataclass(frozen=True, slots=True)
class Verdict:
    """What holds, and what does not; `faults` are in the order of their leaves."""

    leaves: int
    root: bytes
    signed_size: int  # of the largest checkpoint whose root the rows have
    witnessed_size: int  # of the largest of those that the quorum cosigned; 0: it asks for none
    witnessed_at_s: int | None  # when the quorum saw one of those last, since the epoch
    spans: tuple[Span, ...]
    unreadable: int
    unreconciled: tuple[Unreconciled, ...]  # what the log itself says that it has not, or twice
    keys: tuple[KeyUse, ...]  # of tenants, that made commitments
    begins: tuple[Begins, ...]  # lanes that are not counted from their first offset
    faults: tuple[Fault, ...]

    @property
    def is_good(self) -> bool:
        return not self.faults


@dataclass(frozen=True, slots=True)
class _Head:
    """A checkpoint that is signed; `is_held`: brought by the auditor."""

    opened: Opened
    is_held: bool

    @property
    def size(self) -> int:
        return self.opened.checkpoint.size

    @property
    def root(self) -> bytes:
        return self.opened.checkpoint.root


def verify(
    rows: Iterable[Row],
    published: Sequence[bytes],
    policy: Policy,
    held: Sequence[bytes] = (),
    *,
    since_s: int | None = None,
) -> Verdict:
    """Go over a log once.

    Args:
        rows: all of them, in order.
        published: the log's checkpoints as signed notes, in the order of their publication.
        held: checkpoints of the same log from elsewhere, in any order.
        since_s: the quorum must have seen it no earlier, since the epoch; none: whenever.
    """
    heads, faults = _opened(published, held, policy)
    seen = scan(rows, [head.size for head in heads])
    agreed = [head for head in heads if seen.roots.get(head.size) == head.root]
    signed_size = max((head.size for head in agreed), default=0)
    witnessed = (head.size for head in agreed if head.opened.is_witnessed)
    witnessed_size = max(witnessed, default=0) if policy.quorum != NONE else 0
    witnessed_at_s = max((at_s for head in agreed if (at_s := head.opened.seen_at_s)), default=None)
    broken = _row_fault(seen, heads)
    faults += [
        *([broken] if broken else []),
        *seen.omitted,
        *_root_faults(seen, heads, agreed),
        *_size_faults(seen, heads, broken),
        *_backwards(heads),
        *_unwitnessed(policy, heads),
        *_stale(seen.tree.size, witnessed_at_s, since_s),
    ]
    return Verdict(
        leaves=seen.tree.size,
        root=seen.tree.root(),
        signed_size=signed_size,
        witnessed_size=witnessed_size,
        witnessed_at_s=witnessed_at_s,
        spans=tuple(seen.spans),
        unreadable=seen.unreadable,
        unreconciled=tuple(seen.unreconciled),
        keys=tuple(seen.keys),
        begins=tuple(seen.begins),
        faults=tuple(sorted(faults, key=lambda fault: fault.index)),
    )


def _opened(
    published: Sequence[bytes], held: Sequence[bytes], policy: Policy
) -> tuple[list[_Head], list[Fault]]:
    """Those that a trusted key signed; a fault for each other, behind the last that is good."""
    heads: list[_Head] = []
    faults: list[Fault] = []
    for at, raw in enumerate((*published, *held)):
        is_held = at >= len(published)
        name = f"held checkpoint {at - len(published)}" if is_held else f"checkpoint {at}"
        size = heads[-1].size if heads else 0
        try:
            head = _Head(policy.open(raw), is_held)
        except EvidenceRefused as error:
            faults.append(Fault(Kind.FORGED, size, size, f"{name}: {error}"))
            continue
        origin, first = head.opened.checkpoint.origin, (heads or [head])[0].opened.checkpoint.origin
        if origin != first:
            told = f"{name}: of the log {origin}, not of {first}"
            faults.append(Fault(Kind.FORGED, size, size, told))
            continue
        heads.append(head)
    return heads, faults


def _row_fault(seen: Scan, heads: Sequence[_Head]) -> Fault | None:
    if seen.broken is None:
        return None
    return seen.broken.fault(max(0, _published_size(heads) - seen.tree.size))


def _root_faults(seen: Scan, heads: Sequence[_Head], agreed: Sequence[_Head]) -> Iterator[Fault]:
    """The first checkpoint whose root the rows have not, unless a row shows why already."""
    roots: dict[int, bytes] = {}
    for head in sorted(heads, key=lambda head: head.size):
        low = max((one.size for one in agreed if one.size < head.size), default=0)
        last = max(low, head.size - 1)
        if roots.setdefault(head.size, head.root) != head.root:
            told = f"two roots of size {head.size} are signed"
            yield Fault(Kind.FORKED, low, last, told)
            return
        root = seen.roots.get(head.size)
        if root in (None, head.root) or (seen.broken and seen.broken.index < head.size):
            continue
        if any(one.size >= head.size for one in agreed):
            told = f"the root of size {head.size} was signed, and another history as well"
            yield Fault(Kind.FORKED, low, last, told)
        else:
            told = f"each hash is right, and the root of size {head.size} is not the signed one"
            yield Fault(Kind.REWRITTEN, low, last, told)
        return


def _size_faults(seen: Scan, heads: Sequence[_Head], broken: Fault | None) -> Iterator[Fault]:
    """Rows and checkpoints that do not end together."""
    leaves, published = seen.tree.size, _published_size(heads)
    held = max((head.size for head in heads if head.is_held), default=0)
    is_renumbered = broken and broken.kind == Kind.DELETED and seen.end == leaves
    if seen.end < published and not is_renumbered:
        told = f"{published} leaves were signed, the last one here is {seen.end - 1}"
        yield Fault(Kind.CUT, seen.end, published - 1, told)
    if held > max(leaves, published):
        told = f"a checkpoint of {held} leaves is known, this log ends at {max(leaves, published)}"
        yield Fault(Kind.ROLLED_BACK, leaves, held - 1, told)
    if not heads or (leaves > max(published, held) and not broken):
        signed = max(published, held)
        yield Fault(Kind.UNSIGNED, signed, max(signed, leaves - 1), "no checkpoint covers it")


def _backwards(heads: Sequence[_Head]) -> Iterator[Fault]:
    largest = 0
    for head in heads:
        if not head.is_held and head.size < largest:
            told = f"a checkpoint of {head.size} leaves comes after one of {largest}"
            yield Fault(Kind.ROLLED_BACK, head.size, largest - 1, told)
        largest = largest if head.is_held else max(largest, head.size)


def _unwitnessed(policy: Policy, heads: Sequence[_Head]) -> Iterator[Fault]:
    size = max((head.size for head in heads), default=0)
    witnessed = max((head.size for head in heads if head.opened.is_witnessed), default=0)
    if size > witnessed:
        told = f"no checkpoint past size {witnessed} has the cosignatures of {policy.quorum}"
        yield Fault(Kind.UNWITNESSED, witnessed, size - 1, told)


def _stale(leaves: int, seen_at_s: int | None, since_s: int | None) -> Iterator[Fault]:
    if since_s is None or (seen_at_s is not None and seen_at_s >= since_s):
        return
    last = (
        "no witnesses have seen it"
        if seen_at_s is None
        else f"witnesses last saw it at {moment(seen_at_s)}, and not"
    )
    told = f"{last} since {moment(since_s)}: leaves may be missing from here on"
    yield Fault(Kind.STALE, leaves, leaves, told)


def _published_size(heads: Sequence[_Head]) -> int:
    return max((head.size for head in heads if not head.is_held), default=0)
