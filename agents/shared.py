"""What the lanes of one node share, and what they ask of it: two small protocols and their bundle."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from chimera.agents.journaling.journal import Journal
from chimera.agents.lanes.cases import Cases
from chimera.agents.lanes.lane_metrics import LaneMetrics
from chimera.schemas.settings import Settings
from chimera.schemas.work import Block, Work
from chimera.topics.catalogue import Catalogue


class Flow(Protocol):
    """What a lane may do to the consumer of its partition."""

    def pause(self, topic: str, partition: int) -> None: ...
    def resume(self, topic: str, partition: int) -> None: ...
    def seek(self, topic: str, partition: int, offset: int) -> None: ...

    def end(self, topic: str, partition: int) -> int | None:
        """Where what may be read ends, as the latest fetch told; None before the first."""
        ...


class Executors(Protocol):
    @property
    def available(self) -> bool:
        """Whether any executor lives; while none does, nobody's time runs out."""
        ...

    @property
    def paused(self) -> Collection[str]:
        """Models whose requests they hand back."""
        ...

    @property
    def turns(self) -> int:
        """How often who answers has changed."""
        ...

    def got_on_s(self, lane: int) -> float:
        """When those that have, or will get, something of a lane last began or ended anything."""
        ...

    def submit(self, work: Work) -> None: ...
    def submit_block(self, block: Block) -> None: ...

    def withdraw(self, lane: int, offsets: Collection[int]) -> None:
        """These are decided: nobody is to compute them."""
        ...

    def forget(self, lane: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What all lanes of a node use."""

    settings: Settings
    catalogue: Catalogue
    executors: Executors
    flow: Flow
    metrics: LaneMetrics
    step: Callable[[str], None]
    new_journal: Callable[[str, int, Cases], Journal] | None = None  # None: none is written
