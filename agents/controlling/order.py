"""The order of a reign's commands: what may be done now, what waits for what, how far all is answered.

    register, compile   one of each at a time, as they came, a compile behind the register of its
                        version; they may take an hour, so nothing else waits for them
    deploy, promote     behind what registers or compiles their version, and behind those of their
                        model that wait so; else at once
    rollback            at once: what of its model still waits is withdrawn, or it would undo the rollback
    pause, resume       at once

The position in the log is that of the oldest command without an answer: whoever leads next reads on
from there, and passes over what is answered. So a command is kept here until it has one; so many at
most, and what takes long is refused above that. A pure structure: `tests/agents/controlling/test_order.py`.
"""

from collections.abc import Iterable

from chimera.schemas.model_commands import (
    Command,
    CompileModel,
    DeployModel,
    PromoteModel,
    RegisterModel,
    RollBackModel,
)

MOST = 1_024  # commands without an answer

Long = RegisterModel | CompileModel
Placing = DeployModel | PromoteModel


class Order:
    """Of the commands from a position on; offsets grow."""

    def __init__(self, position: int) -> None:
        self._end = position
        # By offset, oldest first; None: it is no command.
        self._left: dict[int, Command | None] = {}

    @property
    def position(self) -> int:
        """All before it is answered."""
        return self.position_without(())

    def position_without(self, offsets: Iterable[int]) -> int:
        """As it is when these are answered too."""
        gone = frozenset(offsets)
        return next((one for one in self._left if one not in gone), self._end)

    def take(self, offset: int, command: Command | None) -> None:
        """The next record of the log, and the command that it is."""
        self._left[offset] = command
        self._end = offset + 1

    def drop(self, offsets: Iterable[int]) -> None:
        """They are answered, or want no answer."""
        for offset in offsets:
            del self._left[offset]

    @property
    def is_full(self) -> bool:
        return len(self._left) >= MOST

    def ready(self) -> list[tuple[int, Command]]:
        """What may be done now, as it came; of what takes long the oldest of its kind."""
        found: list[tuple[int, Command]] = []
        begun: set[type[Command]] = set()
        made: set[tuple[str, str, str]] = set()
        held: set[tuple[str, str]] = set()
        for offset, command in self._left.items():
            if command is None:
                continue
            model = command.tenant, command.model
            if isinstance(command, Long):
                if type(command) not in begun and (*model, command.version) not in made:
                    found.append((offset, command))
                begun.add(type(command))
                made.add((*model, command.version))
            elif isinstance(command, Placing) and (
                model in held or (*model, command.version or "") in made
            ):
                held.add(model)
            else:
                found.append((offset, command))
        return found

    def withdrawn_by(self, offset: int) -> list[tuple[int, Placing]]:
        """What a rollback withdraws: what came before it, is of its model, and waits."""
        by = self._left[offset]
        if not isinstance(by, RollBackModel):
            return []
        return [
            (earlier, command)
            for earlier, command in self._left.items()
            if earlier < offset
            and isinstance(command, Placing)
            and (command.tenant, command.model) == (by.tenant, by.model)
        ]
