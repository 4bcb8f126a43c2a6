"""Sinks killed again and again, and what they leave: each row once.

    python -m tests.integration.sink_killing [KILLS]

It is a hundred kills on a broker of its own, unless another number is given; the tests run ten. At the
end the answers of two INSERTs are lost, and ClickHouse is away for a while.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from chimera.cli.kafka.server import EmbeddedKafka
from tests.integration.topics import new_topic, produce
from tests.stores.sink_records import SIZE

STEPS = ("before_decide", "after_decide", "after_insert")
SEGMENTS = 4  # for each kill


def survive(kafka: str, topic: str, folder: Path, kills: int) -> Counter[str]:
    """Kill so many, each at a step; then let one finish, and look. Returns the kills of each step."""
    produce(kafka, topic, range(SEGMENTS * kills))
    planned = [f"{STEPS[kill % len(STEPS)]}:{1 + kill % 2}" for kill in range(kills)]
    rows = SEGMENTS * kills * SIZE
    command = [sys.executable, "-m", "tests.integration.sink_process", kafka, topic, str(folder)]
    done = subprocess.run(
        [*command, str(rows), *planned], check=False, capture_output=True, text=True
    )
    *others, _, lost, again, away, found = done.stdout.splitlines()
    assert found == f"{rows} {rows} {rows}", done.stderr
    assert [line for line in others if line.startswith("-")] == ["-9"] * kills
    assert ("no answer" in lost, "no answer" in again, "refused" in away) == (True, True, True)
    return Counter(one.partition(":")[0] for one in planned)


def main(kills: str = "100") -> None:
    began_s = time.monotonic()
    with EmbeddedKafka() as broker, tempfile.TemporaryDirectory() as folder:
        topic = asyncio.run(new_topic(broker.bootstrap, "k.inference.journal"))
        done = survive(broker.bootstrap, topic, Path(folder), int(kills))
    took_s = time.monotonic() - began_s
    told = ", ".join(f"{step} {count}" for step, count in done.items())
    sys.stdout.write(f"{done.total()} kills in {took_s:.0f} s, nothing lost or twice: {told}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
