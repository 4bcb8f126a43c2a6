"""One pass over a log's rows: every hash computed again, roots at the sizes that are asked for.

A row that does not follow from the one before it is kept, with what the rows behind it say about
why (`diagnosis`). The root is of the stored bytes, whatever the columns beside them say.
A million rows take a few seconds, most of them in SHA-256;
`tests/schemas/transparency/test_scan.py`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from chimera.schemas.transparency.chain import START
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.diagnosis import Break
from chimera.schemas.transparency.lanes import Lanes, Reconciled
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.tampering import Fault, Kind

MAX_SPANS = 10_000  # beyond that, all that is left is one span; and of reconciliations no more
MIXED = "mixed"
_FLUSH = 4_096  # leaf hashes that wait for the tree


class Span(NamedTuple):
    """Leaves of requests that were served under one guarantee; `repeats`: of such as had one before."""

    first: int
    last: int
    guarantee: str
    repeats: int
    first_repeat: int | None = None  # the leaf


class Unreconciled(msgspec.Struct, frozen=True):
    """A reconciliation that found requests without a leaf, or leaves beyond one for a request.

    The former are `omitted` as well.
    """

    topic: str
    partition: int
    first_offset: str
    end_offset: str
    missing: int
    repeated: int
    index: int = 0  # of the leaf that says so


class KeyUse(NamedTuple):
    """Leaves whose commitments one key of a tenant made."""

    tenant: str
    key: str
    first: int
    last: int
    leaves: int


class Begins(NamedTuple):
    """A lane whose first reconciliation counts from there, and not from offset 0."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Scan:
    """What the rows are; `broken` is the first that does not follow."""

    tree: CompactRange = field(default_factory=CompactRange)
    end: int = 0  # one past the last row's index
    roots: dict[int, bytes] = field(default_factory=dict[int, bytes])
    broken: Break | None = None
    spans: list[Span] = field(default_factory=list[Span])
    unreadable: int = 0  # rows that are no leaf of ours
    unreconciled: list[Unreconciled] = field(default_factory=list[Unreconciled])
    omitted: list[Fault] = field(default_factory=list[Fault])
    keys: list[KeyUse] = field(default_factory=list[KeyUse])
    begins: list[Begins] = field(default_factory=list[Begins])


class _Request(msgspec.Struct):
    guarantee: str = ""
    topic: str = ""
    partition: int = 0
    offset: int = 0
    commitment_key: str | None = None
    tenant: str = ""
    end_offset: int | None = None  # of a reconciliation alone
    missing: int = 0
    repeated: int = 0


_REQUEST = msgspec.json.Decoder(_Request, strict=False)  # offsets are strings in a leaf
_RECONCILED = msgspec.json.Decoder(Reconciled, strict=False)
_UNRECONCILED = msgspec.json.Decoder(Unreconciled)


# One loop, and no call in it that it can do without: it runs once for each leaf of a log.
def scan(rows: Iterable[Row], sizes: Iterable[int]) -> Scan:
    """Go over rows in the order in which they lie; roots are of the first `size` of them."""
    found, wanted = Scan(), sorted({*sizes}, reverse=True)
    guarantees, keys = _Guarantees(found), dict[str, list[Any]]()
    lanes = Lanes()
    is_repeat = lanes.is_repeat
    sha256, decode = hashlib.sha256, _REQUEST.decode
    waiting: list[bytes] = []
    expected, previous, previous_but_one = 0, START, START
    before: Row | None = None
    while wanted and wanted[-1] == 0:
        found.roots[wanted.pop()] = found.tree.root()
    flush_at = min(_FLUSH, wanted[-1]) if wanted else _FLUSH
    for row in rows:
        index, body, leaf, chain = row
        computed = sha256(b"\0" + body).digest()
        if found.broken is not None:
            found.broken.follow(row)
        elif (
            index != expected
            or computed != leaf
            or sha256(b"\2" + previous + leaf).digest() != chain
        ):
            found.broken = Break(expected, row, before, previous, previous_but_one)
        else:
            expected, before, previous_but_one, previous = expected + 1, row, previous, chain
        try:
            request = decode(body)
            if request.guarantee:
                is_again = is_repeat(request.topic, request.partition, request.offset)
                guarantees.take(index, request.guarantee, is_again)
                if request.commitment_key:
                    use = keys.get(request.commitment_key)
                    if use is not None:
                        use[3:] = index, use[4] + 1
                    elif len(keys) < MAX_SPANS:
                        use = [request.tenant, request.commitment_key, index, index, 1]
                        keys[request.commitment_key] = use
            elif request.end_offset is not None:
                _reconcile(found, lanes, index, body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found.unreadable += 1
        waiting.append(computed)
        if len(waiting) == flush_at:
            found.tree = found.tree.extend(waiting)
            waiting.clear()
            if wanted and found.tree.size == wanted[-1]:
                found.roots[wanted.pop()] = found.tree.root()
            flush_at = min(_FLUSH, wanted[-1] - found.tree.size) if wanted else _FLUSH
        found.end = index + 1
    found.tree = found.tree.extend(waiting)
    guarantees.close()
    found.keys = [KeyUse(*use) for use in keys.values()]
    found.begins = [Begins(*lane, offset) for lane, offset in lanes.begins.items() if offset][
        :MAX_SPANS
    ]
    return found


def _reconcile(found: Scan, lanes: Lanes, index: int, body: bytes) -> None:
    """Behind a row that does not follow, nothing can be counted but what the leaf itself says."""
    said = _RECONCILED.decode(body)
    reasons = list(lanes.reconcile(index, said))
    if found.broken is not None:
        reasons = reasons[-1:] if said.missing else []
    if len(found.omitted) < MAX_SPANS:
        found.omitted += [Fault(Kind.OMITTED, index, index, reason) for reason in reasons]
    told = msgspec.structs.replace(_UNRECONCILED.decode(body), index=index)
    if (told.missing or told.repeated) and len(found.unreconciled) < MAX_SPANS:
        found.unreconciled.append(told)


class _Guarantees:
    """Runs of leaves under one guarantee, as they come."""

    def __init__(self, found: Scan) -> None:
        self._spans = found.spans
        self._guarantee = ""
        self._first = self._last = self._repeats = 0
        self._first_repeat: int | None = None

    def take(self, index: int, guarantee: str, is_repeat: bool) -> None:
        if guarantee != self._guarantee:
            self.close()
            self._first, self._guarantee = index, guarantee
        self._last = index
        if is_repeat:
            self._repeats += 1
            self._first_repeat = index if self._first_repeat is None else self._first_repeat

    def close(self) -> None:
        if not self._guarantee:
            return
        span = Span(self._first, self._last, self._guarantee, self._repeats, self._first_repeat)
        if len(self._spans) == MAX_SPANS:
            first, _, _, repeats, again = self._spans.pop()
            again = self._first_repeat if again is None else again
            span = Span(first, self._last, MIXED, repeats + self._repeats, again)
        self._spans.append(span)
        self._guarantee, self._repeats, self._first_repeat = "", 0, None
