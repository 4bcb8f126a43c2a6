"""What a lane hands to the executors, and what comes back: the records between agents and workers.

    Work      a slice of one partition, in offset order         lane     -> executor
    Outcomes  one lane's part of one computed batch             executor -> lane
    Failure   the body of a request that ended in an error
    Block     plain requests as the broker stores them, unread  lane     -> executor
    Results   all results of a block, ready to be produced      executor -> lane
    Deferred  requests that no executor may compute now         executor -> lane

Lists are parallel: index i of each is the same request. Between the processes they travel as the
frames of `workers/frames.py`; `tests/workers/test_frames.py` takes them there and back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from chimera.schemas.batches import Encoded
from chimera.schemas.manifest import Ordering


@dataclass(slots=True)
class Work:
    """Requests of one lane that no executor has seen, or whose executor died."""

    lane: int  # serial number of the lane's incarnation, unique in the node's life
    topic: str
    partition: int
    offsets: Sequence[int]
    values: list[bytes]
    heads: list[int]  # bytes of a binary request's JSON head; -1: all of it is JSON
    deadlines: list[int]  # epoch ms; 0: none
    extras: dict[int, dict[str, str]]  # index -> what its headers name, for those that name any:
    #   model, version, traceparent, priority, tenant, generation, origin (topic:partition:offset)
    entered_ns: int  # time.monotonic_ns() when the run entered its window
    isolate: bool = False  # each is decoded and computed alone, in order


@dataclass(frozen=True, slots=True)
class BatchStory:
    """How one batch was computed, told once for all of its requests."""

    model: str
    version: str
    digest: str  # SHA-256 of the model file, hexadecimal
    tier: str  # for example onnx-cpu
    size: int  # rows that the model computed together, of all lanes; 0: no model saw them
    compute_us: int
    queue_us: int = 0  # of its oldest request, from the lane's window to the batch's start
    ordering: Ordering = "key"
    is_first: bool = True  # of the batch's Outcomes: the one that counts the batch
    executor: str = ""  # its slot; told where a journal is written


@dataclass(slots=True)
class Outcomes:
    """One lane's part of one batch, in the order in which it submitted it (or by priority)."""

    lane: int
    offsets: list[int]
    codes: bytes  # one a request: 0 a response, else 1 + index in errors.REQUEST_ERRORS
    bodies: list[bytes]  # code 0: the result record's tail (schemas/headers.py); else a Failure
    batch: BatchStory
    notes: list[bytes] = field(default_factory=list[bytes])  # for the journal, if one is written


@dataclass(slots=True, eq=False)
class Block:
    """Whole record batches of one partition, which its node has not read.

    An executor reads them, and answers all of their requests as one, if each is plain: no header,
    so nothing that a lane must know beforehand, and of a size that is served. Else it hands the
    block back, and the lane reads it.
    """

    lane: int
    topic: str
    partition: int
    first: int  # the first offset
    next: int  # the offset after the last
    count: int  # records
    first_ms: int  # when the first was appended or made, epoch
    raw: bytes | memoryview
    entered_ns: int = 0  # time.monotonic_ns() when it entered its window


@dataclass(frozen=True, slots=True)
class Results:
    """Of a block whose requests all have a response."""

    lane: int
    first: int
    next: int
    batches: tuple[Encoded, ...]  # result records in the requests' order
    stories: tuple[BatchStory, ...]  # of the batches that its requests were computed in
    rows: bytes = b""  # parts of the journal's segment, if one is written

    @property
    def count(self) -> int:
        return sum(batch.count for batch in self.batches)


@dataclass(frozen=True, slots=True)
class Deferred:
    """Requests of one lane that no executor may compute now: back with the lane, which waits."""

    lane: int
    offsets: list[int]
    model: str
    version: str = ""  # it takes no call, or could not be loaded; empty: the model is paused
    until_ms: int = 0  # epoch: when one may; 0: when the model is resumed


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a request has no response, as JSON; `id` and `model` as far as its bytes told."""

    model: str = ""
    version: str = ""
    id: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that an executor serves, or refused to."""

    model: str
    version: str
    digest: str
    tier: str
    load_ms: int
    refused: str = ""  # the reason; empty: it serves
    size_bytes: int = 0  # of memory, that it took where its device has it; 0: nobody can say
    tiers: tuple[str, ...] = ()  # all that it has, the fastest first


@dataclass(frozen=True, slots=True)
class Started:
    """An executor's report once it can compute, or when it cannot."""

    slot: str  # for example cpu:0
    pid: int
    start_ms: int
    models: tuple[Loaded, ...] = ()
    failed: str = ""  # why it cannot compute: its configuration is wrong; empty: it can
