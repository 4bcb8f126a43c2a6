"""Sinks that die at every step, answers that never came, ClickHouse away: each row once.

The warehouse of the test reads a real topic into the real engine, in a process of its own, and is
killed at a fail-point. At the end count = distinct = max + 1.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.topics import new_topic, produce
from tests.stores.sink_records import SIZE

STEPS = ("before_decide", "after_decide", "after_insert")
KILLS = 10
SEGMENTS = 40


@pytest.fixture
def topic(kafka: str, prefix: str) -> str:
    return asyncio.run(new_topic(kafka, f"{prefix}inference.journal"))


def test_ten_kills_and_every_trouble_leave_each_row_once(
    kafka: str, topic: str, tmp_path: Path
) -> None:
    produce(kafka, topic, range(SEGMENTS))
    kills = [f"{STEPS[kill % len(STEPS)]}:{1 + kill % 2}" for kill in range(KILLS)]
    rows = SEGMENTS * SIZE
    command = [sys.executable, "-m", "tests.integration.sink_process", kafka, topic, str(tmp_path)]
    done = subprocess.run(
        [*command, str(rows), *kills], check=False, capture_output=True, text=True
    )
    *others, _, lost, again, away, found = done.stdout.splitlines()
    assert found == f"{rows} {rows} {rows}", done.stderr
    assert [line for line in others if line.startswith("-")] == ["-9"] * KILLS
    assert ("no answer" in lost, "no answer" in again, "refused" in away) == (True, True, True)
