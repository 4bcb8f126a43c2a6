"""What a node promises of outcomes: each one once, or each at least once.

A name of its own because settings, the journal and the audit log all say it.
`tests/integration/test_campaign_smoke.py` holds nodes to the first, `test_at_least_once.py` to the second.
"""

from typing import Literal

Guarantee = Literal["exactly_once", "at_least_once"]
