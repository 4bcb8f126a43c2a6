"""Moves of lanes to other offsets: planned, carried out, and told to the audit log, each by itself.

An event is on the disk before its lane is moved; Kafka gets those of one command together, after it.
`tests/cli/test_offsets.py`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from chimera.agents.audit_events import act
from chimera.cli.offsets.position import Position
from chimera.cli.offsets.positions import Desk, chosen
from chimera.schemas.control_actions import Lane, offsets_set
from chimera.schemas.errors import ConfigurationError, KafkaUnavailable
from chimera.schemas.settings import Settings
from chimera.schemas.transparency.leaves import ActionTaken
from chimera.stores.audit_outbox import AuditOutbox

Show = Callable[[int, int], None]
"""So many are done, of so many."""


class Move(NamedTuple):
    """Of one lane, to its next request to be answered."""

    position: Position
    offset: int

    @property
    def before(self) -> int | None:
        return self.position.committed.offset if self.position.committed else None

    def told(self) -> list[str]:
        """To a person who is asked for it."""
        one = self.position
        before = "nothing" if self.before is None else str(self.before)
        passed_over, again = one.consequences(self.offset)
        lines = [f"{one.topic}-{one.partition}: {before} -> {self.offset}"]
        if again:
            lines.append(f"  requests {_ends(again)} have outcomes: they get another one")
        if passed_over:
            lines.append(f"  requests {_ends(passed_over)} are passed over: no outcome is known")
        return lines

    def event(self, group: str, actor: str, reason: str) -> ActionTaken:
        one, consequences = self.position, self.position.consequences(self.offset)
        lane = Lane(group, one.topic, one.partition)
        return offsets_set(act(actor, reason), lane, self.before, self.offset, *consequences)


def _ends(offsets: range) -> str:
    return f"{offsets.start} to {offsets.stop - 1}"


async def to_offset(desk: Desk, topic: str, partition: int, offset: int) -> list[Move]:
    """Of one lane.

    Raises:
        ConfigurationError: there is no such lane, or it may not be moved now.
    """
    (found,) = chosen(await desk.positions(), topic, partition)
    position = await desk.look_back(found)
    await desk.require_movable(position)
    return [Move(position, offset)]


async def after_outcomes(
    desk: Desk, topic: str | None, partition: int | None, show: Show
) -> list[Move]:
    """To what follows the last request with an outcome: one lane, or all of a topic, or all, that halt.

    Raises:
        ConfigurationError: as `to_offset`; or no result tells where the one lane was.
    """
    wanted: list[Move] = []
    found = chosen(await desk.positions(), topic, partition)
    for number, one in enumerate(found, 1):
        if partition is None and one.committed is not None and not one.trouble:
            continue
        position = await desk.look_back(one)
        show(number, len(found))
        restored = position.restored
        if restored is None or not position.start <= restored <= position.end:
            if partition is not None:
                raise ConfigurationError(
                    f"no result tells where {topic}-{partition} was: use `chimera offsets set`"
                )
            continue
        await desk.require_movable(position)
        wanted.append(Move(position, restored))
    return wanted


async def carry_out(
    desk: Desk, settings: Settings, moves: Sequence[Move], actor: str, reason: str, show: Show
) -> None:
    """One after the other; those before one that fails are done, and told.

    Raises:
        ConfigurationError, KafkaUnavailable: one cannot be moved, or nobody knows whether it was.
    """
    outbox, group = AuditOutbox(settings.audit.outbox), settings.kafka.group
    for number, move in enumerate(moves, 1):
        with outbox.holding(move.event(group, actor, reason)):
            doubt = await desk.move(*move)
        if doubt:
            raise KafkaUnavailable(doubt)
        show(number, len(moves))
