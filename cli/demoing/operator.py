"""Who gives commands in the demo: each is a record for the controller, as `chimera models` writes them.

`tests/cli/demoing/test_demo.py` runs it.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from chimera.cli.demoing.failure import DemoFailed
from chimera.cli.demoing.versions import MODEL
from chimera.cli.models.actor import actor
from chimera.cli.models.commanding import give
from chimera.cli.models.compiling import compile_registered
from chimera.schemas.compile_report import CompileReport, Step
from chimera.schemas.model_commands import (
    Command,
    CompileModel,
    PromoteModel,
    RollBackModel,
    WatchPolicy,
)
from chimera.schemas.model_events import CommandAnswered
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.settings import Settings

# Of latencies a demo on a busy machine says nothing.
POLICY = WatchPolicy(window_s=60, min_requests=500, max_p99_ratio=None, max_disagreement=0.05)
ANSWER_WITHIN_S = 30.0
COMPILED_WITHIN_S = 600.0  # all tiers, on a busy machine
POLL_S = 0.1

Answer = TypeVar("Answer")


class Operator:
    """Gives commands to the controller, as `chimera models` does; each raises DemoFailed."""

    def __init__(self, settings: Settings, bootstrap: str, require: Callable[[], None]) -> None:
        """`require` raises if nobody is left to do what is asked for."""
        self._settings, self._bootstrap = settings, bootstrap
        self._require = require

    async def compile(
        self, version: str, tiers: Sequence[str], tell: Callable[[Step], None]
    ) -> CompileReport:
        """`tiers`: by name; none named: all. `tell` hears of each step."""
        command = CompileModel(version=version, tiers=tuple(tiers), **_common("it is new"))
        within_s = COMPILED_WITHIN_S
        doing = compile_registered(self._settings, self._bootstrap, command, within_s, tell)
        answer, report = await self._attended(doing)
        _require_done(command, answer, within_s)
        if report is None:
            raise DemoFailed(f"version {version} is compiled, and no report was named")
        return report

    async def promote(self, version: str) -> CommandAnswered:
        command = PromoteModel(version=version, watch=POLICY, **_common("never mind the drift"))
        return await self._give(command)

    async def roll_back(self, reason: str) -> CommandAnswered:
        return await self._give(RollBackModel(**_common(reason)))

    async def _give(self, command: Command) -> CommandAnswered:
        doing = give(self._settings, self._bootstrap, command, ANSWER_WITHIN_S)
        return _require_done(command, await self._attended(doing), ANSWER_WITHIN_S)

    async def _attended(self, doing: Coroutine[Any, Any, Answer]) -> Answer:
        """What comes of it, for as long as there is a node."""
        task = asyncio.create_task(doing, name="command")
        try:
            while not (await asyncio.wait((task,), timeout=POLL_S))[0]:
                self._require()
        finally:
            task.cancel()
            await asyncio.wait((task,))  # it closes what it has opened
        return task.result()


def _require_done(
    command: Command, answer: CommandAnswered | None, within_s: float
) -> CommandAnswered:
    """Raises DemoFailed: it was refused, or nobody answers."""
    if answer is None or answer.outcome != "done":
        why = f"no answer within {within_s:.0f} s" if answer is None else answer.error
        raise DemoFailed(f"{type(command).__name__}: {why}")
    return answer


def _common(reason: str) -> dict[str, Any]:
    return {
        "command_id": uuid.uuid4().hex,
        "tenant": DEFAULT_TENANT,
        "model": MODEL,
        "actor": actor(),
        "reason": reason,
    }
