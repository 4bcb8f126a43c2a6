"""Campaigns at their small size; all of them, and larger, by `make chaos`."""

import pytest

from tests.integration.chaos.broker import Broker
from tests.integration.chaos.campaigns import CAMPAIGNS, SMOKE, Campaign

SEED = 7
IN_TESTS = ("crashes", "recreation", "hostile")


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "campaign",
    [campaign for campaign in CAMPAIGNS if campaign.name in IN_TESTS],
    ids=lambda campaign: str(campaign.name),
)
def test_campaign_loses_repeats_and_reorders_nothing(broker: Broker, campaign: Campaign) -> None:
    verdict = campaign.run(broker, SEED, SMOKE)
    assert not verdict.violations, verdict.as_json()
