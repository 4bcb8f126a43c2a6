"""A warehouse of one topic that dies at each of some fail-points, and lives until it has all rows.

    python -m tests.integration.sink_process KAFKA TABLE TOPIC FOLDER ROWS STEP:N ...

STEP for the N-th time: it is killed there, and another comes. The last one loses the answers of two
INSERTs, and is then told that nobody is there. It prints the signals that ended the others, then rows,
different ones, and one more than the largest (`sink_tables.py`).
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from chimera.agents import warehouse as agent
from chimera.agents.warehouse import Warehouse
from chimera.agents.warehouse_metrics import WarehouseMetrics
from chimera.schemas.errors import ClickHouseUnavailable
from chimera.schemas.server_settings import KafkaSettings
from chimera.stores import clickhouse, warehouse_tables
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.sink import Limits, Sink
from tests.integration.sink_tables import TABLES
from tests.integration.topics import topic_of
from tests.stores.sink_records import SIZE


class Losing(ClickHouse):
    """An engine behind a line that loses the first answers, and then is away for a while."""

    left = 0

    def insert(self, table: str, columns: Any, block: bytes, token: str) -> None:
        if self.left < 0:  # away
            self.left += 1
            raise ClickHouseUnavailable("connection refused")
        super().insert(table, columns, block, token)
        if self.left:
            self.left = -self.left if self.left == 1 else self.left - 1
            raise ClickHouseUnavailable("no answer")


def killer(at: str) -> Callable[[str], None]:
    name, _, number = at.partition(":")
    left = int(number or 0)

    def step(reached: str) -> None:
        nonlocal left
        if reached == name:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    return step


async def live(given: argparse.Namespace, engine: Losing, kill: str) -> None:
    table, limits = TABLES[given.table], Limits(rows=2 * SIZE, seconds=0.02)
    sink = Sink(engine, table.destination(), limits, killer(kill))
    kafka = KafkaSettings(bootstrap=given.kafka, group=given.topic)
    reader = Warehouse(topic_of(given.topic), sink, WarehouseMetrics(), kafka)
    await reader.start()
    running = asyncio.create_task(reader.run())
    try:
        while not running.done():
            if (await asyncio.to_thread(engine.rows, table.counts))[0][0] >= given.rows:
                return
            await asyncio.sleep(0.02)
        await running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await reader.stop()


def life(given: argparse.Namespace, kill: str = "", lost: int = 0) -> None:
    made = clickhouse.embedded(Path(given.folder))
    engine = Losing(made._client)  # pyright: ignore[reportPrivateUsage]  # the same handle
    warehouse_tables.migrate(engine)
    engine.left = lost
    asyncio.run(live(given, engine, kill))
    TABLES[given.table].require_whole(engine)
    sys.stdout.write(" ".join(map(str, engine.rows(TABLES[given.table].counts)[0])))
    engine.close()


def main() -> None:
    """Each life is a fork, so that only the engine is loaded again."""
    parser = argparse.ArgumentParser()
    for name in ("kafka", "table", "topic", "folder"):
        parser.add_argument(name)
    parser.add_argument("rows", type=int)
    parser.add_argument("kills", nargs="*")
    given = parser.parse_args()
    agent.AGAIN_S = 0.01
    for kill in given.kills:
        child = os.fork()
        if not child:
            life(given, kill)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    life(given, lost=2)


if __name__ == "__main__":
    main()
