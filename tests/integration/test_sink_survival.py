"""Sinks that die at every step, answers that never came, ClickHouse away: each row once.

The warehouse of the test reads a real topic into the real engine, in a process of its own, and is
killed at a fail-point (`sink_killing.py`, which kills a hundred). At the end count = distinct = max + 1.
"""

import asyncio
from pathlib import Path

from tests.integration.sink_killing import survive
from tests.integration.topics import new_topic

KILLS = 10


def test_ten_kills_and_every_trouble_leave_each_row_once(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    topic = asyncio.run(new_topic(kafka, f"{prefix}inference.journal"))
    assert survive(kafka, topic, tmp_path, KILLS).total() == KILLS
