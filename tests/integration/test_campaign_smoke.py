"""Every campaign, small: nothing lost, repeated or overtaken, whatever happens to the system.

`make campaigns` plays them; `make chaos` runs the same phases at full size, and docs/reliability.md
has its table.
"""

import pytest

from tests.integration.chaos.broker import Broker
from tests.integration.chaos.campaigns import SMOKE, SMOKE_CAMPAIGNS, Campaign

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]
SEEDS = {campaign.name: seed for seed, campaign in enumerate(SMOKE_CAMPAIGNS)}


@pytest.mark.parametrize("campaign", SMOKE_CAMPAIGNS, ids=list(SEEDS))
def test_campaign_leaves_exactly_one_outcome_for_each_request(
    broker: Broker, campaign: Campaign
) -> None:
    """A fault may come too late to meet what it should hit: then it is tried again."""
    for seed in (SEEDS[campaign.name], SEEDS[campaign.name] + 100):
        verdict = campaign.run(broker, seed, SMOKE)
        assert not verdict.violations, verdict.as_json()
        assert verdict.counts["results"] > 0
        if not verdict.missed:
            return
    pytest.fail(f"not shown: {verdict.missed}")
