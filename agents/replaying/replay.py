"""Recorded requests of one model through a candidate, compared with what was served.

    requests ─┐                       ┌ left out, by reason
    results  ─┼─ joined by identity ──┤
    dead letters                      └ lots ── candidate ── tally

A request is computed in a batch as large as the one that it was served in, as far as its neighbours
allow: only then times can be compared. Nothing becomes visible, no offset is committed, no group is
joined. `tests/agents/replaying/test_replay.py` runs it on a real Kafka with real executors.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from chimera.agents.lanes.intake import Rules, take_in
from chimera.agents.replaying.history import History
from chimera.agents.replaying.joining import Pair
from chimera.agents.replaying.partition import Partition, Spans
from chimera.schemas.errors import KafkaUnavailable
from chimera.schemas.settings import Settings
from chimera.topics.catalogue import catalogue
from chimera.workers.replaying.candidate import Candidate, GivenUp
from chimera.workers.replaying.tally import Tally

CLOCKS_MS = 60_000  # brokers' clocks may differ by so much: results are looked for from before
FAILED_LOT = 32  # requests of which no batch is told, as they ended in errors
UNRELATED = frozenset(
    {"deadline_exceeded", "shed", "rate_limited", "bad_signature", "unauthorised", "unknown_model"}
)
LANE = 1

Progress = Callable[[int, int], None]
"""Told how many offsets were read, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which requests are replayed."""

    model: str
    digest: str  # of the candidate: what it has answered itself says nothing
    since_ms: int
    until_ms: int
    max_requests: int  # that are replayed, of all partitions together
    served_by: str = ""  # the digest of a version, whose answers alone count; empty: any


class Replay:
    """Of one candidate; `run` fills the tally."""

    def __init__(
        self, settings: Settings, history: History, candidate: Candidate, tally: Tally
    ) -> None:
        self._serving = settings.serving
        self._topics = catalogue(settings)
        self._history, self._candidate, self._tally = history, candidate, tally
        self.is_cut = False  # retention has removed a part of what was to be read
        self.given_up = ""  # why the candidate was

    async def run(self, wanted: Wanted, progress: Progress = lambda _, __: None) -> None:
        """All partitions, one after the other; each has its share of the requests wanted.

        Raises:
            KafkaUnavailable, Damaged: the history cannot be read.
        """
        parts = await self._parts(wanted)
        total, done = sum(len(spans.requests) for spans in parts), 0
        for number, spans in enumerate(parts):
            left = wanted.max_requests - self._tally.counts.replayed
            share = -(-left // (len(parts) - number))
            partition = Partition(self._history, spans, wanted.model)
            try:
                await self._replay(partition, wanted, share, partial(_add, progress, done, total))
            except GivenUp as reason:
                self.given_up = str(reason)
            self._tally.leave_out("pinned", partition.pinned)
            self._tally.leave_out("unanswered", partition.unanswered)
            self.is_cut |= partition.is_cut
            if self.given_up:
                return
            done += len(spans.requests)
        progress(total, total)

    async def _parts(self, wanted: Wanted) -> list[Spans]:
        topics, before_ms = self._topics, max(0, wanted.since_ms - CLOCKS_MS)
        requests = await self._history.spans(topics.requests.name, wanted.since_ms, wanted.until_ms)
        results = await self._history.spans(topics.results.name, before_ms)
        letters = await self._history.spans(topics.dead_letters.name, before_ms)
        if not len(requests) == len(results) == len(letters):
            raise KafkaUnavailable(
                f"{topics.requests.name} and {topics.results.name} differ in partitions: "
                "`chimera topics sync`"
            )
        return list(map(Spans, requests, results, letters))

    async def _replay(
        self, partition: Partition, wanted: Wanted, share: int, tell: Callable[[int], None]
    ) -> None:
        span = partition.spans.requests
        rules = Rules(
            span.topic,
            span.partition,
            LANE,
            False,
            self._serving.max_request_bytes,
            self._serving.deadline_tolerance_ms,
        )
        end = self._tally.counts.replayed + share
        async with aclosing(partition.pairs()) as pieces:
            async for pairs in pieces:
                kept = [pair for pair in pairs if self._is_kept(pair, wanted)]
                for lot in lots(kept[: max(0, end - self._tally.counts.replayed)]):
                    await self._compute(rules, lot)
                tell(partition.read)
                if self._tally.counts.replayed >= end:
                    return

    def _is_kept(self, pair: Pair, wanted: Wanted) -> bool:
        """Whether it can be compared; else it is counted by the reason."""
        served = pair.outcome
        if served.code:
            self._tally.served_errors[served.code] += 1
        if served.code in UNRELATED:
            self._tally.leave_out("unrelated")
        elif served.digest == wanted.digest:
            self._tally.leave_out("own")
        elif wanted.served_by and served.digest != wanted.served_by:
            self._tally.leave_out("others")
        else:
            return True
        return False

    async def _compute(self, rules: Rules, lot: Sequence[Pair]) -> None:
        """Deadlines of the past bind nobody."""
        served = {pair.request.offset: pair.outcome for pair in lot}
        requests = sorted((pair.request for pair in lot), key=lambda one: one.offset)
        taken = take_in(rules, requests, entered_ns=time.monotonic_ns())
        self._tally.leave_out("unrelated", len(taken.refused))
        taken.work.deadlines = [0] * len(taken.work.offsets)
        found = await self._candidate.answer(taken.work)
        for offset, outcome in zip(taken.work.offsets, found, strict=True):
            name = f"{rules.topic}:{rules.partition}:{offset}"
            self._tally.add(name, served[offset], outcome)


def _add(progress: Progress, done: int, total: int, read: int) -> None:
    progress(done + read, total)


def lots(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    """Neighbours that were served in batches of one size, in lots of about as many requests."""
    for rows, group in groupby(pairs, key=lambda pair: pair.outcome.rows):
        together, size = list(group), rows or FAILED_LOT
        for start in range(0, len(together), size):
            yield together[start : start + size]
