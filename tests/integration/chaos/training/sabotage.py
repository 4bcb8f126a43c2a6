"""A training agent with promises broken on purpose: the harness must find out.

Run as a module, with HOW as its argument, in place of `chimera trainer`:
    twice        the end of a run is told twice
    forgetful    a trainer that goes on from a checkpoint draws other random numbers than it would have
    careless     both
"""

# pyright: reportPrivateUsage=false

import sys
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from chimera.agents.training import process
from chimera.agents.training.attendance import Attendance
from chimera.cli.main import main
from chimera.schemas.training_events import Event
from chimera.stores.registry.training_runs import Ending

MODULE, TRAINER = f"{__package__}.sabotage", "trainer"


def twice() -> None:
    honest = Attendance._write

    async def tell_again(
        self: Attendance, ending: Ending, told: Sequence[Event], digest: str = ""
    ) -> None:
        again = [msgspec.structs.replace(one, event_id=uuid.uuid4().hex) for one in told]
        await honest(self, ending, [*told, *again], digest)

    Attendance._write = tell_again  # type: ignore[method-assign]  # that is the sabotage


def forgetful() -> None:
    process.ENTRY = (sys.executable, "-m", MODULE, TRAINER)  # type: ignore[assignment]  # one more word


def careless() -> None:
    twice()
    forgetful()


def train() -> int:
    """As `python -m chimera.workers.training`, by the seed alone."""
    from chimera.workers.training import __main__ as entry
    from chimera.workers.training import randomness

    def forget(found: dict[str, Any]) -> None:
        del found

    randomness.restore = forget
    return entry.main()


SABOTAGE: dict[str, Callable[[], None]] = {
    "twice": twice,
    "forgetful": forgetful,
    "careless": careless,
}

if __name__ == "__main__":
    if sys.argv[1] == TRAINER:
        raise SystemExit(train())
    SABOTAGE[sys.argv[1]]()
    sys.argv[1:] = ["trainer"]
    main()
