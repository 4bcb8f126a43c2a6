"""Who gives commands in the demo: each is a record for the controller, as `chimera models` writes them.

`tests/cli/demoing/test_demo.py` runs it.
"""

import uuid
from typing import Any

from chimera.cli.actor import actor
from chimera.cli.commanding import give
from chimera.cli.demoing.failure import DemoFailed
from chimera.cli.demoing.requests import MODEL
from chimera.schemas.model_commands import (
    Command,
    DeployModel,
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


class Operator:
    """Gives commands to the controller, as `chimera models` does."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._settings, self._bootstrap = settings, bootstrap

    async def deploy(self, version: str) -> CommandAnswered:
        return await self._give(DeployModel(version=version, **_common("the demo begins")))

    async def promote(self, version: str) -> CommandAnswered:
        command = PromoteModel(version=version, watch=POLICY, **_common("it was just trained"))
        return await self._give(command)

    async def roll_back(self, reason: str) -> CommandAnswered:
        return await self._give(RollBackModel(**_common(reason)))

    async def _give(self, command: Command) -> CommandAnswered:
        """Raises DemoFailed: it was refused, or nobody answers."""
        answer = await give(self._settings, self._bootstrap, command, ANSWER_WITHIN_S)
        if answer is None or answer.outcome != "done":
            why = f"no answer within {ANSWER_WITHIN_S:.0f} s" if answer is None else answer.error
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
