"""The warehouse's readers side by side: a table that must not go on stops alone, and says so.

What another start mends ends them all, and the process with them; so does the last table that stops.
`tests/integration/test_warehouse.py` has a table that conflicts with its topic beside others that do not.
"""

import asyncio
from collections.abc import Sequence

import structlog

from chimera.agents.warehouse import Warehouse
from chimera.agents.warehouse_metrics import WarehouseMetrics
from chimera.schemas.errors import ChimeraError, ClickHouseUnavailable, KafkaUnavailable
from chimera.topics.producers import ProducerError

log = structlog.get_logger(__name__)

PASSING = (ClickHouseUnavailable, KafkaUnavailable, ProducerError)  # another one took over, too


class WarehouseReaders:
    """`start`, then `run` until cancelled, then `stop`."""

    def __init__(self, readers: Sequence[Warehouse], metrics: WarehouseMetrics) -> None:
        self._readers = list(readers)
        self._stopped = metrics.stopped
        for reader in readers:
            self._stopped.labels(reader.table).set(0)

    async def start(self) -> None:
        """Raises as `Warehouse.start` does: what may pass, or of the last table that is left."""
        for reader in [*self._readers]:
            try:
                await reader.start()
            except ChimeraError as error:
                await self._leave(reader, error)

    async def run(self) -> None:
        """Raises as `Warehouse.run` does: what may pass, or of the last table that is left."""
        running = {asyncio.create_task(reader.run()): reader for reader in self._readers}
        try:
            while True:
                ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    reader = running.pop(task)
                    try:
                        task.result()
                    except ChimeraError as error:
                        await self._leave(reader, error)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def stop(self) -> None:
        for reader in self._readers:
            await reader.stop()

    async def _leave(self, reader: Warehouse, error: ChimeraError) -> None:
        """Without it."""
        if isinstance(error, PASSING) or self._readers == [reader]:
            raise error
        self._readers.remove(reader)
        self._stopped.labels(reader.table).set(1)
        log.error("table_stopped", table=reader.table, reason=str(error))
        await reader.stop()
