"""Sinks that die at every step, answers that never came, ClickHouse away: each row once.

The warehouse of the test reads a real topic into the real engine, in a process of its own, and is
killed at a fail-point. At the end count = distinct = max + 1.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.integration.topics import new_topic
from tests.stores.sink_records import SIZE, record

STEPS = ("before_decide", "after_decide", "after_insert")
KILLS = 10
SEGMENTS_A_LIFE = 6


@pytest.fixture
def topic(kafka: str, prefix: str) -> str:
    return asyncio.run(new_topic(kafka, f"{prefix}inference.journal"))


def produce(kafka: str, topic: str, numbers: range) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for number in numbers:
        producer.produce(topic, record(0, number).value, partition=0)
    producer.flush(30)


def lived(kafka: str, topic: str, folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit status of one life, and what it said."""
    command = [sys.executable, "-m", "tests.integration.sink_process", kafka, topic, str(folder)]
    done = subprocess.run(
        [*command, *arguments], check=False, capture_output=True, text=True, timeout=110
    )
    return done.returncode, done.stderr[-500:] + done.stdout


@pytest.mark.timeout(400)
def test_ten_kills_and_every_trouble_leave_each_row_once(
    kafka: str, topic: str, tmp_path: Path
) -> None:
    """The last life loses the answers of two INSERTs, and is then told that nobody is there."""
    end = 0
    for kill in range(KILLS):
        produce(kafka, topic, range(end, end + SEGMENTS_A_LIFE))
        end += SEGMENTS_A_LIFE
        step = f"{STEPS[kill % len(STEPS)]}:{1 + kill % 2}"
        code, said = lived(kafka, topic, tmp_path, "--until", str(end * SIZE), "--kill", step)
        assert code == -9, said
    produce(kafka, topic, range(end, end + SEGMENTS_A_LIFE))
    rows = (end + SEGMENTS_A_LIFE) * SIZE
    code, said = lived(kafka, topic, tmp_path, "--until", str(rows), "--lose", "2")
    assert (code, said.splitlines()[-1]) == (0, f"{rows} {rows} {rows}")
    assert said.count("clickhouse_unavailable") == 3
