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
    verdict = campaign.run(broker, SEEDS[campaign.name], SMOKE)
    assert not verdict.violations, verdict.as_json()
    assert verdict.counts["results"] > 0
