"""What the commit loop does when it is fenced: fence back while the lane is ours, else nothing more."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from chimera.agents.commit_loop import CommitLoop
from chimera.agents.committers import Committer
from chimera.agents.outcomes import Composer
from chimera.schemas.settings import KafkaSettings, Settings
from chimera.topics.producers import Committed, Fenced, Produced
from tests.agents.lanes import Bench, Kafka

QUICK = Settings(kafka=KafkaSettings(heartbeat_interval_ms=20))


@dataclass
class Transactions:
    """A broker's view of one transactional id: what was committed, by which of its producers."""

    opened: int = 0
    fenced: set[int] = field(default_factory=set[int])
    committed: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def new(self) -> Committer:
        return OneProducer(self)


@dataclass
class OneProducer:
    broker: Transactions
    number: int = 0

    async def open(self) -> Committed | None:
        self.broker.opened += 1
        self.number = self.broker.opened
        return None

    async def commit(self, produced: Sequence[Produced], next_offset: int) -> None:
        if self.number in self.broker.fenced:
            raise Fenced("somebody opened the same id")
        self.broker.committed.append((self.number, next_offset))

    async def close(self) -> None:
        return


def loop_of(bench: Bench, broker: Transactions, position: int, fatal: list[str]) -> CommitLoop:
    async def opening(committer: Committer) -> tuple[int, dict[int, int]]:
        await committer.open()
        return position, {}

    return CommitLoop(
        bench.lane,
        opening,
        broker.new,
        Composer(bench.shared.catalogue, 0),
        settings=QUICK,
        metrics=bench.shared.metrics,
        fatal=fatal.append,
        forget_deaths=lambda _: None,
    )


def test_loop_fences_back_and_goes_on_from_what_is_committed() -> None:
    bench, broker, fatal = Bench(), Transactions(fenced={1}), list[str]()

    async def run() -> None:
        task = asyncio.create_task(loop_of(bench, broker, 2, fatal).run())
        bench.put(Kafka(2), Kafka(3), start=0)
        await asyncio.sleep(0.01)
        bench.answer(2, 3)
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert broker.committed == [(2, 4)]
    assert not fatal


def test_loop_commits_nothing_for_a_lane_that_was_revoked_while_it_was_fenced() -> None:
    bench, broker, fatal = Bench(), Transactions(fenced={1}), list[str]()

    async def run() -> None:
        loop = loop_of(bench, broker, 0, fatal)
        task = asyncio.create_task(loop.run())
        bench.put(Kafka(0), Kafka(1))
        await asyncio.sleep(0.01)
        bench.answer(0, 1)
        await asyncio.sleep(0.01)
        await loop.finish(1.0)
        await asyncio.wait_for(task, 1.0)

    asyncio.run(run())
    assert (broker.opened, broker.committed, fatal) == (1, [], [])
