"""Every campaign by name: what it does to the system, at two sizes.

A campaign is a function of a broker, a seed and a size; it gives the verdict. `SMOKE` is what the
tests run; `FULL` is `make chaos`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.integration.chaos.broker import Broker
from tests.integration.chaos.campaigns.network import network, outages
from tests.integration.chaos.campaigns.nodes import crashes, membership, zombies
from tests.integration.chaos.campaigns.offsets import forgotten, growth, recreation, retention
from tests.integration.chaos.campaigns.requests import hostile, pressure
from tests.integration.chaos.campaigns.size import FULL, SMOKE, Size
from tests.integration.chaos.judge import Verdict

__all__ = ["CAMPAIGNS", "FULL", "SMOKE", "Campaign", "Size"]


@dataclass(frozen=True)
class Campaign:
    name: str
    run: Callable[[Broker, int, Size], Verdict]


CAMPAIGNS = tuple(
    Campaign(run.__name__, run)
    for run in (
        crashes,
        zombies,
        membership,
        outages,
        network,
        hostile,
        pressure,
        retention,
        forgotten,
        growth,
        recreation,
    )
)
