"""Journals of a node's lanes: what all their segments have in common stands here once.

`tests/integration/test_journal.py` reads what a node writes.
"""

import os
import socket

from chimera.agents.journaling.journal import Journal
from chimera.agents.lanes.cases import Cases
from chimera.schemas.guarantees import Guarantee
from chimera.schemas.journal import SegmentHead
from chimera.schemas.settings import Settings
from chimera.topics.catalogue import Catalogue
from chimera.workers.tenant_keys import TenantKeys


class Journals:
    """Of one node."""

    def __init__(self, settings: Settings, topics: Catalogue) -> None:
        self._guarantee: Guarantee = settings.serving.guarantee
        self._topics = topics
        self._keys = TenantKeys(settings.journal.keys_dir)
        self._node = f"{socket.gethostname()}:{os.getpid()}"

    def new(self, topic: str, partition: int, cases: Cases) -> Journal:
        """Of one lane, with what it knows of its requests."""
        head = SegmentHead(
            topic=topic,
            partition=partition,
            start=0,
            next=0,
            guarantee=self._guarantee,
            node=self._node,
        )
        is_retry = topic != self._topics.requests.name
        return Journal(head, self._topics.journal, self._keys, cases, is_retry=is_retry)
