"""A lane with a recording consumer and recording executors: no broker, no process."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from chimera.agents.journaling.journal import Journal
from chimera.agents.lanes.cases import Cases
from chimera.agents.lanes.fetched import Fetched, Run
from chimera.agents.lanes.lane import Lane
from chimera.agents.lanes.lane_metrics import LaneMetrics
from chimera.agents.lanes.outcomes import end_of
from chimera.agents.shared import Shared
from chimera.schemas.batches import Encoded, encode
from chimera.schemas.errors import REQUEST_ERRORS, RequestError
from chimera.schemas.headers import varint
from chimera.schemas.journal import SegmentHead
from chimera.schemas.manifest import Ordering
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.settings import Settings
from chimera.schemas.withheld import Withheld
from chimera.schemas.work import BatchStory, Block, Deferred, Failure, Outcomes, Results, Work
from chimera.topics.catalogue import catalogue
from chimera.workers.tenant_keys import TenantKeys

SERIAL = 7


@dataclass
class Kafka:
    """One record as aiokafka parses it."""

    offset: int
    value: bytes | None = b'{"id":"a","model_name":"digits"}'
    key: bytes | None = b"key"
    headers: list[tuple[str, bytes | None]] = field(default_factory=list[tuple[str, bytes | None]])
    timestamp: int = 1_700_000_000_000


@dataclass
class Executors:
    available: bool = True
    paused: set[str] = field(default_factory=set[str])
    turns: int = 0
    got_on_at_s: float = 0.0
    submitted: list[Work] = field(default_factory=list[Work])
    blocks: list[Block] = field(default_factory=list[Block])
    forgotten: list[int] = field(default_factory=list[int])
    withdrawn: list[int] = field(default_factory=list[int])

    def got_on_s(self, lane: int) -> float:
        return self.got_on_at_s

    def submit(self, work: Work) -> None:
        self.submitted.append(work)

    def submit_block(self, block: Block) -> None:
        self.blocks.append(block)

    def withdraw(self, lane: int, offsets: Collection[int]) -> None:
        assert lane == SERIAL
        self.withdrawn += sorted(offsets)

    def forget(self, lane: int) -> None:
        self.forgotten.append(lane)

    def offsets(self) -> list[list[int]]:
        return [list(work.offsets) for work in self.submitted]


@dataclass
class Flow:
    paused: bool = False
    sought: list[int] = field(default_factory=list[int])
    ends: int | None = None

    def pause(self, topic: str, partition: int) -> None:
        self.paused = True

    def resume(self, topic: str, partition: int) -> None:
        self.paused = False

    def seek(self, topic: str, partition: int, offset: int) -> None:
        self.sought.append(offset)

    def end(self, topic: str, partition: int) -> int | None:
        return self.ends


class Bench:
    """A lane on the bench, open at position 0."""

    def __init__(
        self, *, topic: str = "inference.requests", keys_dir: Path | None = None, **serving: object
    ) -> None:
        """`keys_dir`: of tenants, if its lane has a journal."""
        self.settings = Settings(serving=ServingSettings.model_validate(serving))
        self.executors, self.flow = Executors(), Flow()
        self.steps: list[str] = []
        self.shared = Shared(
            self.settings,
            catalogue(self.settings),
            self.executors,
            self.flow,
            LaneMetrics(CollectorRegistry()),
            self.steps.append,
            None if keys_dir is None else self._new_journal,
        )
        self._keys_dir = keys_dir
        self.lane = Lane(self.shared, topic, 0, SERIAL)

    def _new_journal(self, topic: str, partition: int, cases: Cases) -> Journal:
        topics = self.shared.catalogue
        head = SegmentHead(
            topic=topic, partition=partition, start=0, next=0, guarantee="exactly_once"
        )
        assert self._keys_dir is not None
        keys = TenantKeys(self._keys_dir)
        is_retry = topic != topics.requests.name
        return Journal(head, topics.journal, keys, cases, is_retry=is_retry)

    def open(self, position: int = 0, deaths: dict[int, int] | None = None) -> "Bench":
        self.lane.open(position, deaths or {})
        return self

    def put(self, *records: Kafka | Withheld, start: int | None = None) -> None:
        begin = records[0].offset if start is None else start
        self.lane.put(Run(self.lane.topic, self.lane.partition, begin, records=records))

    def put_raw(
        self, first: int, count: int, *, start: int | None = None, head: bytes = b"\0"
    ) -> Run:
        """A run of one stored batch; `head`: the headers of each record."""
        values = [b"value %d" % (first + number) for number in range(count)]
        tails = [varint(len(value)) + value + head for value in values]
        sent = encode([b"key"] * count, tails).sent_by(-1, 0, 0, transactional=False)
        raw = first.to_bytes(8, "big") + sent[8:]
        begin = first if start is None else start
        run = Fetched(self.lane.topic, self.lane.partition, first, raw, continues=begin).take(count)
        assert run is not None
        self.lane.put(run)
        return run

    def answer_block(self, block: Block, rows: bytes = b"") -> None:
        story = BatchStory("digits", "1", "d" * 64, "onnx-cpu", block.count, 10)
        batch = Encoded(block.count, 0, b"results")
        self.lane.answer_block(Results(SERIAL, block.first, block.next, (batch,), (story,), rows))

    def answer(self, *offsets: int, tail: bytes = b"tail", note: bytes = b"") -> None:
        story = BatchStory("digits", "1", "d" * 64, "onnx-cpu", len(offsets), 10)
        bodies = [tail] * len(offsets)
        notes = [note] * len(offsets) if note else []
        codes = bytes(len(offsets))
        self.lane.answer(Outcomes(SERIAL, list(offsets), codes, bodies, story, notes))

    def defer(self, *offsets: int, until_ms: int = 0) -> None:
        self.lane.defer(
            Deferred(SERIAL, list(offsets), "digits", "1" if until_ms else "", until_ms)
        )

    def fail(self, offset: int, error: type[RequestError], ordering: Ordering = "key") -> None:
        story = BatchStory("digits", "1", "d" * 64, "onnx-cpu", 1, 10, ordering=ordering)
        body = msgspec.json.encode(Failure("digits", "1", "a", "it failed"))
        code = bytes([1 + REQUEST_ERRORS.index(error)])
        self.lane.answer(Outcomes(SERIAL, [offset], code, [body], story))

    def commit(self, now_s: float | None = None) -> list[int]:
        """All that is decided without a gap; returns offsets whose deaths may be forgotten."""
        now_s = time.monotonic() if now_s is None else now_s
        return self.lane.committed(self.lane.prefix(1 << 20), now_s)

    def decided(self) -> list[int]:
        return [end_of(entry) - 1 for entry, _ in self.lane.prefix(10_000)]
