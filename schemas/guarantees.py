"""What a node promises of outcomes: each one once, or each at least once.

A name of its own because settings, the journal and the audit log all say it;
`tests/integration/test_node.py` runs both.
"""

from typing import Literal

Guarantee = Literal["exactly_once", "at_least_once"]
