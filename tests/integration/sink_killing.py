"""Sinks killed again and again, and what they leave: each row once.

    python -m tests.integration.sink_killing [KILLS] [TABLE ...]

It is a hundred kills of each table's sink (`sink_tables.py`) on a broker of its own, unless another number is given; the tests
run ten of the one, and some of the other. At the end the answers of two INSERTs are lost, and ClickHouse is away for a while.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from chimera.cli.kafka.server import EmbeddedKafka
from tests.integration.sink_tables import TABLES
from tests.integration.topics import new_topic, produce_records
from tests.stores.sink_records import SIZE

STEPS = ("before_decide", "after_decide", "after_insert")
SEGMENTS = 4  # for each kill


def survive(kafka: str, table: str, topic: str, folder: Path, kills: int) -> Counter[str]:
    """Kill so many, each at a step; then let one finish, and look. Returns the kills of each step."""
    rows = SEGMENTS * kills * SIZE
    produce_records(kafka, topic, TABLES[table].records(rows))
    planned = [f"{STEPS[kill % len(STEPS)]}:{1 + kill % 2}" for kill in range(kills)]
    command = [sys.executable, "-m", "tests.integration.sink_process"]
    given = [kafka, table, topic, str(folder), str(rows)]
    done = subprocess.run([*command, *given, *planned], check=False, capture_output=True, text=True)
    *others, _, lost, again, away, found = done.stdout.splitlines()
    assert found == f"{rows} {rows} {rows}", done.stderr
    assert [line for line in others if line.startswith("-")] == ["-9"] * kills
    assert ("no answer" in lost, "no answer" in again, "refused" in away) == (True, True, True)
    return Counter(one.partition(":")[0] for one in planned)


def main(kills: str = "100", *tables: str) -> None:
    with EmbeddedKafka() as broker:
        for table in tables or TABLES:
            began_s = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                topic = asyncio.run(new_topic(broker.bootstrap, f"k.{TABLES[table].topic}"))
                done = survive(broker.bootstrap, table, topic, Path(folder), int(kills))
            took_s = time.monotonic() - began_s
            told = ", ".join(f"{step} {count}" for step, count in done.items())
            rows = SEGMENTS * int(kills) * SIZE
            sys.stdout.write(
                f"{table}: {done.total()} kills in {took_s:.0f} s, {rows} rows, nothing lost or twice: {told}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
