"""A node with one promise broken on purpose: the harness must find out.

Run as a script, `sabotage.py HOW`, in place of `chimera node`:
    no-fence      each lane opens a transactional id that nobody else has, so nobody is fenced
    early-commit  each transaction commits an offset that lies past what it has decided
    stale         what is deployed after its start never reaches it
    deaf          fetching fails after a while, as it does when a client library has a fault
    clumsy        a lane fails over a run after a while, as it does when it has a fault itself
"""

# pyright: reportPrivateUsage=false

import asyncio
import itertools
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from chimera.agents.following.following import Executors, Following
from chimera.agents.lanes.committers import ExactlyOnce
from chimera.agents.lanes.fetched import Run
from chimera.agents.lanes.lane import Lane
from chimera.agents.transport import LoopConsumer
from chimera.cli.main import main
from chimera.topics.producers import Produced
from chimera.topics.transactions import TransactionalProducer

AHEAD = 60
HEARD = 150


def no_fence() -> None:
    honest = TransactionalProducer.open

    async def open_alone(self: TransactionalProducer) -> None:
        self.transactional_id = f"{self.transactional_id}-{uuid.uuid4().hex}"
        await honest(self)

    TransactionalProducer.open = open_alone  # type: ignore[method-assign]  # that is the sabotage


def early_commit() -> None:
    honest = ExactlyOnce.commit

    async def commit_ahead(
        self: ExactlyOnce, produced: Sequence[Produced], next_offset: int
    ) -> None:
        await honest(self, produced, next_offset + AHEAD)

    ExactlyOnce.commit = commit_ahead  # type: ignore[method-assign]  # that is the sabotage


def stale() -> None:
    async def read_nothing(self: Following, executors: Executors) -> None:
        await asyncio.Event().wait()

    Following._read = read_nothing  # type: ignore[method-assign]  # that is the sabotage


def deaf() -> None:
    honest = LoopConsumer._paced_fetch
    calls = itertools.count()

    async def fetch_for_a_while(
        self: LoopConsumer, assignment: Any, node: int, request: Any
    ) -> bool:
        if next(calls) > HEARD:
            raise RuntimeError("deaf")
        return await honest(self, assignment, node, request)

    LoopConsumer._paced_fetch = fetch_for_a_while  # type: ignore[method-assign]  # that is it


def clumsy() -> None:
    honest = Lane.put
    calls = itertools.count()

    def put_for_a_while(self: Lane, run: Run) -> None:
        if next(calls) > HEARD:
            raise RuntimeError("clumsy")
        honest(self, run)

    Lane.put = put_for_a_while  # type: ignore[method-assign]  # that is the sabotage


SABOTAGE: dict[str, Callable[[], None]] = {
    "no-fence": no_fence,
    "early-commit": early_commit,
    "stale": stale,
    "deaf": deaf,
    "clumsy": clumsy,
}

if __name__ == "__main__":
    SABOTAGE[sys.argv[1]]()
    sys.argv[1:] = ["node"]
    main()
