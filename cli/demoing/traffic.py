"""The demo's traffic: publish the plan, and wait until all of it is answered.

    burst ── all at once, in batches ─────────── requests/s: until the last result is visible
    paced ── an open loop at a fixed rate ────── latency: from each request's scheduled time

`tests/cli/demoing/test_demo.py` runs it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chimera.cli.asking import results
from chimera.cli.asking.results import Coordinates, Record
from chimera.cli.demoing.publisher import Acknowledged, Publisher
from chimera.cli.demoing.recording import Recording
from chimera.cli.demoing.requests import Request

RATE = 300  # paced requests a second: well below what two busy cores serve


@dataclass(slots=True)
class Traffic:
    """What was sent, and when; times are `time.monotonic()`."""

    sent: dict[Coordinates, Request] = field(default_factory=dict[Coordinates, Request])
    due_s: dict[Coordinates, float] = field(default_factory=dict[Coordinates, float])  # of paced
    burst: int = 0
    burst_s: float = 0.0  # from the first publish to the last visible result

    @property
    def throughput_rps(self) -> float:
        """Of the burst: publishing, serving and reading back."""
        return self.burst / self.burst_s if self.burst_s else 0.0

    def latencies_ms(self, recording: Recording) -> list[float]:
        """Of the paced requests: from the scheduled time to the visible result."""
        found: list[float] = []
        for seen_s, record in zip(recording.seen_s, recording.answers, strict=True):
            where = results.story(record).request
            if where is not None and where in self.due_s:
                found.append((seen_s - self.due_s[where]) * 1000)
        return found


Tell = Callable[[int], None]


async def burst(
    publisher: Publisher, recording: Recording, requests: Sequence[Request], tell: Tell
) -> Traffic:
    """Publish them at once and read until all are answered, or nothing comes any more.

    Args:
        tell: hears how many are answered.

    Raises:
        ChimeraError: as `Recording.until`.
    """
    traffic = Traffic()
    batches = publisher.prepare(requests)
    started_s = time.monotonic()
    traffic.sent.update(await publisher.send(batches))
    await _answered(recording, traffic, 0, tell)
    traffic.burst = min(len(requests), len(recording.seen_s))
    if traffic.burst:
        traffic.burst_s = recording.seen_s[traffic.burst - 1] - started_s
    return traffic


async def pace(
    publisher: Publisher,
    recording: Recording,
    requests: Sequence[Request],
    traffic: Traffic,
    tell: Tell,
) -> None:
    """The same by the clock, and added to `traffic`. Raises as `burst`."""
    before = len(recording.answers)
    sent = [one async for one in by_the_clock(publisher, requests, RATE)]
    for request, due_s, acknowledged in sent:
        where = await coordinates(acknowledged)
        traffic.sent[where] = request
        traffic.due_s[where] = due_s
    await _answered(recording, traffic, before, tell)


async def _answered(recording: Recording, traffic: Traffic, before: int, tell: Tell) -> None:
    """Until everything that was sent is; `before`: answers that were told earlier."""

    def is_all() -> bool:
        tell(len(recording.answers) - before)
        return len(recording.answers) >= len(traffic.sent)

    await recording.until(is_all)


async def by_the_clock(
    publisher: Publisher, requests: Iterable[Request], rate: float
) -> AsyncIterator[tuple[Request, float, Acknowledged]]:
    """Each is published when its time has come; yields it with that time."""
    start_s = time.monotonic() + 0.1
    for number, request in enumerate(requests):
        due_s = start_s + number / rate
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        yield request, due_s, await publisher.send_one(request)


async def coordinates(acknowledged: Acknowledged) -> Coordinates:
    """Where the broker has put a record."""
    where = await acknowledged
    return Coordinates(where.topic, where.partition, where.offset)


def parted(
    records: Iterable[Record],
    sent: Mapping[Coordinates, Request],
    coordinates: tuple[str, str, str] = results.RESULT,
) -> tuple[list[Record], list[Record]]:
    """Those that came of what is in `sent`, and all others; `coordinates` as `results.story`."""
    theirs: list[Record] = []
    others: list[Record] = []
    for record in records:
        known = results.story(record, coordinates).request in sent
        (theirs if known else others).append(record)
    return theirs, others
