"""Somebody who gives commands for a model: each is written into the ledger, and published at once.

Nobody waits for an answer: a command may come while no controller lives, and is to be answered all
the same, once. Encoded by the product's schemas, as any program's would be; sent by another client.
"""

import random
import time
import uuid
from collections.abc import Callable
from typing import Any

from confluent_kafka import Producer

from chimera.schemas.model_commands import (
    Command,
    DeployModel,
    PauseModel,
    PromoteModel,
    ResumeModel,
    RollBackModel,
    WatchPolicy,
    encode_command,
)
from chimera.schemas.model_names import DEFAULT_TENANT, key
from tests.integration.chaos.ledger import Ledger
from tests.integration.chaos.releases import MODEL, SHADOW, VERSIONS

ACTIONS = ("promote", "shadow", "rollback", "pause", "resume", "share", "promote", "rollback")
WATCH = WatchPolicy(window_s=2, min_requests=50, max_error_rate=0.5, max_p99_ratio=None)
SENT_WITHIN_S = 30.0


def plan(count: int) -> list[str]:
    """So many actions: `ACTIONS` round and round; at the end nothing is paused, and one serves alone."""
    return [ACTIONS[at % len(ACTIONS)] for at in range(count - 2)] + ["resume", "settle"]


class Commands:
    """Of one operator, on `models.commands`."""

    def __init__(self, bootstrap: str, topic: str, ledger: Ledger, rng: random.Random) -> None:
        self._topic, self._ledger, self._rng = topic, ledger, rng
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})

    def give(self, action: str, version: str | None = None) -> None:
        """Returns when the broker has it; `version`: any, unless it is named."""
        chosen = version or self._rng.choice(VERSIONS)
        command = _MAKE[action](uuid.uuid4().hex, chosen)
        self._ledger.add("commands", [(command.command_id, action, time.time_ns() // 1_000_000)])
        self._producer.produce(self._topic, encode_command(command), key(DEFAULT_TENANT, MODEL))
        left = self._producer.flush(SENT_WITHIN_S)
        assert not left, "the broker did not take a command"


def _common(command_id: str) -> dict[str, Any]:
    return {
        "command_id": command_id,
        "tenant": DEFAULT_TENANT,
        "model": MODEL,
        "actor": "chaos",
    }


_MAKE: dict[str, Callable[[str, str], Command]] = {
    "deploy": lambda name, version: DeployModel(**_common(name), version=version),
    "share": lambda name, version: DeployModel(**_common(name), version=version, weight=0.3),
    "shadow": lambda name, _: DeployModel(**_common(name), version=SHADOW, shadow_share=1.0),
    "promote": lambda name, version: PromoteModel(**_common(name), version=version, watch=WATCH),
    "settle": lambda name, version: PromoteModel(**_common(name), version=version, watch=None),
    "rollback": lambda name, _: RollBackModel(**_common(name)),
    "pause": lambda name, _: PauseModel(**_common(name)),
    "resume": lambda name, _: ResumeModel(**_common(name)),
}
