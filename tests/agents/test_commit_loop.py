"""What the commit loop does when it is fenced, and when it halts: it waits for a command, and goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from chimera.agents.lanes.commit_loop import CommitLoop, Halted
from chimera.agents.lanes.committers import Committer
from chimera.agents.lanes.outcomes import Composer, Error
from chimera.schemas.errors import ModelFailed, SchemaInvalid
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.settings import Settings
from chimera.topics.producers import Committed, Fenced, Produced
from tests.agents.lanes import Bench, Kafka

QUICK = Settings(kafka=KafkaSettings(heartbeat_interval_ms=20))
PATIENT = Settings(
    kafka=KafkaSettings(heartbeat_interval_ms=20_000)
)  # waits that long for a revocation


@dataclass
class Transactions:
    """A broker's view of one transactional id: what was committed, by which of its producers."""

    opened: int = 0
    fenced: set[int] = field(default_factory=set[int])
    committed: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    refused: int = 0
    position: Committed | None = None  # as a command sets it
    asked: int = 0

    def new(self) -> Committer:
        return OneProducer(self)


@dataclass
class OneProducer:
    broker: Transactions
    number: int = 0
    answers_first = False

    async def open(self) -> Committed | None:
        self.broker.opened += 1
        self.number = self.broker.opened
        return None

    async def committed(self) -> Committed | None:
        self.broker.asked += 1
        return self.broker.position

    async def commit(self, produced: Sequence[Produced], next_offset: int) -> None:
        if self.number in self.broker.fenced:
            self.broker.refused += 1
            raise Fenced("somebody opened the same id")
        self.broker.committed.append((self.number, next_offset))

    async def begin(self, position: int) -> None:
        await self.commit((), position)

    async def close(self) -> None:
        return


def opened_at(
    *positions: int | Halted,
) -> Callable[[Committer], Awaitable[tuple[int, dict[int, int]]]]:
    """An opening that finds these positions, one after the other, or that something is not right."""
    following = iter(positions)

    async def opening(committer: Committer) -> tuple[int, dict[int, int]]:
        await committer.open()
        found = next(following)
        if isinstance(found, Halted):
            raise found
        return found, {}

    return opening


def loop_of(
    bench: Bench,
    broker: Transactions,
    fatal: list[str],
    *positions: int | Halted,
    settings: Settings = QUICK,
    take_errors: Callable[[list[Error]], None] = lambda _: None,
    take_halt: Callable[[Halted], None] = lambda _: None,
) -> CommitLoop:
    return CommitLoop(
        bench.lane,
        opened_at(*positions),
        broker.new,
        Composer(bench.shared.catalogue, 0),
        settings=settings,
        metrics=bench.shared.metrics,
        fatal=fatal.append,
        forget_deaths=lambda _: None,
        take_errors=take_errors,
        take_halt=take_halt,
    )


def is_halted(bench: Bench) -> bool:
    halted = bench.shared.metrics.halted.labels("inference.requests", 0)
    return next(iter(halted.collect())).samples[0].value == 1


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # nothing announces it
            await asyncio.sleep(0.001)


def test_loop_fences_back_and_goes_on_from_what_is_committed() -> None:
    bench, broker, fatal = Bench(), Transactions(fenced={1}), list[str]()

    async def run() -> None:
        task = asyncio.create_task(loop_of(bench, broker, fatal, 2, 2).run())
        bench.put(Kafka(2), Kafka(3), start=0)
        await until(lambda: bench.lane.position is not None)
        bench.answer(2, 3)
        await until(lambda: broker.committed)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert broker.committed == [(2, 4)]
    assert not fatal


def test_loop_commits_nothing_for_a_lane_that_was_revoked_while_it_was_fenced() -> None:
    bench, broker, fatal = Bench(), Transactions(fenced={1}), list[str]()

    async def run() -> None:
        loop = loop_of(bench, broker, fatal, 0, 0, settings=PATIENT)
        task = asyncio.create_task(loop.run())
        bench.put(Kafka(0), Kafka(1))
        await until(lambda: bench.lane.position is not None)
        bench.answer(0, 1)
        await until(lambda: broker.refused)
        await loop.finish(10.0)
        await asyncio.wait_for(task, 10.0)

    asyncio.run(run())
    assert (broker.opened, broker.committed, fatal) == (1, [], [])


def test_loop_reads_again_what_only_seemed_lost() -> None:
    bench, broker, fatal = Bench(), Transactions(), list[str]()

    async def run() -> None:
        task = asyncio.create_task(loop_of(bench, broker, fatal, 0, 1).run())
        bench.put(Kafka(0))
        await until(lambda: bench.lane.position is not None)
        for _ in range(4):  # runs that were on their way when the lane looked for what is missing
            bench.put(Kafka(5), start=5)
        assert bench.lane.lost is not None
        bench.answer(0)
        await until(lambda: bench.lane.lost is None and not bench.flow.paused)
        bench.put(Kafka(1), Kafka(5), start=1)
        bench.answer(1, 5)
        await until(lambda: len(broker.committed) == 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert bench.flow.sought == [1, 1, 1, 1]
    assert broker.committed == [(1, 1), (2, 6)]


def test_loop_halts_when_the_log_has_lost_requests_and_goes_on_where_a_command_says() -> None:
    bench, broker, fatal, halts = Bench(), Transactions(), list[str](), list[Halted]()
    lost = Halted("removed", Committed(1), missing=range(1, 5))

    async def run() -> None:
        loop = loop_of(bench, broker, fatal, 0, lost, 7, take_halt=halts.append)
        task = asyncio.create_task(loop.run())
        bench.put(Kafka(0))
        await until(lambda: bench.lane.position is not None)
        broker.position = Committed(1)
        for _ in range(4):
            bench.put(Kafka(5), start=5)
        bench.answer(0)
        await until(lambda: is_halted(bench) and broker.asked > 2)
        assert broker.opened == 2  # it asks, and fences nobody
        broker.position = Committed(7)
        await until(lambda: bench.lane.position == 7 and not bench.flow.paused)
        assert bench.flow.sought[-1] == 7
        bench.put(Kafka(7), start=7)
        bench.answer(7)
        await until(lambda: len(broker.committed) == 2)
        await loop.finish(10.0)
        await asyncio.wait_for(task, 10.0)

    asyncio.run(run())
    assert [offset for _, offset in broker.committed] == [1, 8]
    assert (halts, fatal, is_halted(bench)) == ([lost], [], False)


def test_loop_that_halts_at_its_opening_takes_what_came_meanwhile() -> None:
    bench, broker, fatal, halts = Bench(), Transactions(), list[str](), list[Halted]()

    async def run() -> None:
        again = Halted("still lost", Committed(2))
        loop = loop_of(bench, broker, fatal, Halted("lost"), again, 3, take_halt=halts.append)
        task = asyncio.create_task(loop.run())
        bench.put(*map(Kafka, range(5)))
        await until(lambda: broker.asked > 2)
        broker.position = Committed(2)
        await until(lambda: broker.opened == 2)
        broker.position = Committed(3)
        await until(lambda: bench.lane.position == 3)
        bench.answer(3, 4)
        await until(lambda: broker.committed)
        await loop.finish(10.0)
        await asyncio.wait_for(task, 10.0)

    asyncio.run(run())
    assert [offset for _, offset in broker.committed] == [5]
    assert [halted.reason for halted in halts] == ["lost", "still lost"]


def test_loop_that_halts_commits_nothing_for_a_lane_that_is_revoked() -> None:
    bench, broker, fatal = Bench(), Transactions(fenced={1}), list[str]()

    async def run() -> None:
        loop = loop_of(bench, broker, fatal, 0, Halted("lost", Committed(0)))
        task = asyncio.create_task(loop.run())
        bench.put(Kafka(0))
        await until(lambda: bench.lane.position is not None)
        broker.position = Committed(0)
        bench.answer(0)
        await until(lambda: is_halted(bench))
        await loop.finish(10.0)
        await asyncio.wait_for(task, 10.0)

    asyncio.run(run())
    assert (broker.committed, fatal, is_halted(bench)) == ([], [], False)


def test_loop_that_halted_never_goes_back_behind_what_its_lane_holds() -> None:
    bench, broker, fatal, halts = Bench(), Transactions(fenced={1}), list[str](), list[Halted]()

    async def run() -> None:
        cut = Halted("cut", Committed(5))
        loop = loop_of(bench, broker, fatal, 5, cut, 2, 6, take_halt=halts.append)
        task = asyncio.create_task(loop.run())
        bench.put(Kafka(5), Kafka(6), start=5)
        await until(lambda: bench.lane.position is not None)
        broker.position = Committed(5)
        bench.answer(5, 6)
        await until(lambda: is_halted(bench))
        broker.position = Committed(2)
        await until(lambda: len(halts) == 2)
        broker.position = Committed(6)
        await until(lambda: broker.committed)
        await loop.finish(10.0)
        await asyncio.wait_for(task, 10.0)

    asyncio.run(run())
    assert [offset for _, offset in broker.committed] == [7]
    assert halts[1].reason.startswith("the group's offset 2 is behind 5")


def test_lane_that_is_condemned_waits_for_no_command() -> None:
    bench, broker, fatal = Bench(), Transactions(), list[str]()

    async def run() -> None:
        loop = loop_of(bench, broker, fatal, 0)
        task = asyncio.create_task(loop.run())
        await until(lambda: bench.lane.position is not None)
        bench.lane.condemn("made anew")
        await until(lambda: is_halted(bench))
        broker.position = Committed(3)
        await asyncio.sleep(5 * QUICK.kafka.heartbeat_interval_ms / 1000)
        await loop.finish(10.0)
        await asyncio.wait_for(task, 10.0)

    asyncio.run(run())
    assert (broker.opened, broker.asked) == (1, 0)


def test_loop_tells_errors_once_they_are_committed_and_no_failure_that_is_tried_again() -> None:
    bench, broker, fatal = Bench(), Transactions(), list[str]()
    told: list[tuple[str, str, bool, int]] = []

    def take(errors: list[Error]) -> None:
        told.extend(
            (error.code, error.version, error.is_answer, len(broker.committed)) for error in errors
        )

    async def run() -> None:
        loop = loop_of(bench, broker, fatal, 0, take_errors=take)
        task = asyncio.create_task(loop.run())
        bench.put(*map(Kafka, range(4)))
        await until(lambda: bench.lane.position is not None)
        bench.answer(0)
        bench.fail(1, SchemaInvalid)
        bench.fail(2, ModelFailed, "none")  # for a retry topic
        bench.answer(3)
        await until(lambda: told)
        await loop.finish(10.0)
        await asyncio.wait_for(task, 10.0)

    asyncio.run(run())
    assert told == [("schema_invalid", "1", True, 1)]
