"""Sinks that die at every step, answers that never came, ClickHouse away: each row once.

The warehouse of the test reads a real topic into the real engine, in a process of its own, and is
killed at a fail-point (`sink_killing.py`, which kills a hundred). At the end count = distinct = max + 1.
"""

import asyncio
from pathlib import Path

import pytest

from tests.integration.sink_killing import survive
from tests.integration.sink_tables import TABLES
from tests.integration.topics import new_topic

KILLS = {"inference_log": 10, "audit_log": 3}  # each step of the latter once


@pytest.mark.parametrize("table", KILLS)
def test_kills_and_every_trouble_leave_each_row_once(
    table: str, kafka: str, prefix: str, tmp_path: Path
) -> None:
    topic = asyncio.run(new_topic(kafka, f"{prefix}{TABLES[table].topic}"))
    assert survive(kafka, table, topic, tmp_path, KILLS[table]).total() == KILLS[table]
