"""A broker that campaigns may break, beside the shared one that nobody may."""

from collections.abc import Iterator

import pytest

from tests.integration.chaos.broker import Broker


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """Started by the first test that asks; kill it, but leave it running."""
    with Broker() as found:
        yield found
