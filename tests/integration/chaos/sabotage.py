"""A node with one promise broken on purpose: the harness must find out.

Run as a script, `sabotage.py HOW`, in place of `chimera node`:
    no-fence      each lane opens a transactional id that nobody else has, so nobody is fenced
    early-commit  each transaction commits an offset that lies past what it has decided
"""

import sys
import uuid
from collections.abc import Callable, Sequence

from chimera.agents.committers import ExactlyOnce
from chimera.cli.main import main
from chimera.topics.producers import Produced
from chimera.topics.transactions import TransactionalProducer

AHEAD = 60


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


SABOTAGE: dict[str, Callable[[], None]] = {"no-fence": no_fence, "early-commit": early_commit}

if __name__ == "__main__":
    SABOTAGE[sys.argv[1]]()
    sys.argv[1:] = ["node"]
    main()
