"""Campaigns: named phases of faults, done to one running system, then judged.

A phase is a function of an arena and a size: it does its faults, says what it expects to see, and
leaves the system running. `CAMPAIGNS` runs each phase alone, at full size; `SMOKE_CAMPAIGNS` runs
all of them, small, in few systems, since starting one costs more than most faults. `TRAINING` has a
system of its own.
"""

import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tests.integration.chaos.arena import Arena
from tests.integration.chaos.broker import Broker
from tests.integration.chaos.campaigns.deployments import deployments
from tests.integration.chaos.campaigns.network import CALL_S, network, outages
from tests.integration.chaos.campaigns.nodes import crashes, growth, kills, membership, zombies
from tests.integration.chaos.campaigns.offsets import forgotten, recreation, retention
from tests.integration.chaos.campaigns.requests import PRESSED, hostile, pressure
from tests.integration.chaos.campaigns.size import FULL, SMOKE, Size
from tests.integration.chaos.campaigns.training import TrainingCampaign
from tests.integration.chaos.cases import Mix
from tests.integration.chaos.judge import Verdict
from tests.waiting import wait

__all__ = [
    "CAMPAIGNS",
    "FULL",
    "SMOKE",
    "SMOKE_CAMPAIGNS",
    "TRAINING",
    "Campaign",
    "Size",
    "TrainingCampaign",
    "prefix",
]

GONE_WITHIN_S = 5.0
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")

Phase = Callable[[Arena, Size], None]


@dataclass(frozen=True)
class Campaign:
    """Phases, and the system that they are done to."""

    name: str
    phases: tuple[Phase, ...]
    nodes: int = 2
    share: float = 1.0  # of the size's rate
    poison: float = 0.01
    proxied: bool = False  # nodes reach the broker through the bad network
    registered: bool = False  # nodes follow a registry
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    shown: ClassVar[tuple[str, ...]] = (
        "requests",
        "results",
        "dead_letters",
        "lost",
        "duplicated",
        "mismatched",
        "reordered",
    )

    def run(self, broker: Broker, seed: int, size: Size) -> Verdict:
        """Start everything, do the phases, wait until all is decided, judge.

        Ledger and logs stay where something was wrong.
        """
        compression = COMPRESSIONS[seed % len(COMPRESSIONS)]
        with Arena(
            broker,
            prefix(),
            seed=seed,
            rate=size.rate * self.share,
            nodes=self.nodes,
            mix=Mix(poison=self.poison),
            environment=self.environment,
            proxied=self.proxied,
            registered=self.registered,
            compression=compression,
        ) as arena:
            arena.wait_until_serving()
            for phase in self.phases:
                phase(arena, size)
            arena.settle()
            verdict = arena.verdict(self.name, compression=compression)
        if not wait(lambda: not arena.leftovers(), GONE_WITHIN_S):
            raise AssertionError(f"still there: {arena.leftovers()}")
        if not verdict.violations:
            shutil.rmtree(arena.folder)
        return verdict


def prefix() -> str:
    """For topics that nobody else has."""
    return f"c{uuid.uuid4().hex[:8]}."


_AGING = {"CHIMERA_KAFKA__METADATA_MAX_AGE_MS": "2000"}
_HOSTILE = {
    "CHIMERA_SERVING__EXECUTORS": "2",
    "CHIMERA_SERVING__RUN_TIMEOUT_MS": "1500",
    "CHIMERA_SERVING__INLINE_RETRY_MS": "500",
}
_HASTY = {"CHIMERA_KAFKA__REQUEST_TIMEOUT_MS": str(int(CALL_S * 1000))}

_PRESSURE = Campaign("pressure", (pressure,), nodes=1, share=0.2, environment=PRESSED)
_HOSTILITY = Campaign("hostile", (hostile,), share=0.5, poison=0.1, environment=_HOSTILE)
_DEPLOYMENTS = Campaign("deployments", (deployments,), share=0.3, registered=True)

CAMPAIGNS = (
    Campaign("kills", (kills,)),
    Campaign("crashes", (crashes,)),
    Campaign("zombies", (zombies,)),
    Campaign("membership", (membership,)),
    Campaign("growth", (growth,), environment=_AGING),
    Campaign("outages", (outages,), nodes=1, environment=_HASTY),
    Campaign("network", (network,), share=0.5, proxied=True, environment=_HASTY),
    _HOSTILITY,
    _PRESSURE,
    Campaign("retention", (retention,), nodes=1, share=0.3),
    Campaign("forgotten", (forgotten,), nodes=1, share=0.3),
    Campaign("recreation", (recreation,), nodes=1, share=0.3),
    _DEPLOYMENTS,
)

SMOKE_CAMPAIGNS = (
    Campaign("nodes", (kills, crashes, zombies, membership, growth), environment=_AGING),
    Campaign("broker", (network, outages), proxied=True, share=0.5, environment=_HASTY),
    _HOSTILITY,
    _PRESSURE,
    Campaign("offsets", (retention, forgotten, recreation), nodes=1, share=0.3),
    _DEPLOYMENTS,
)

TRAINING = TrainingCampaign()
