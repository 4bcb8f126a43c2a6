"""Readers side by side, on a real broker: the last one that must not go on ends them."""

import asyncio

import pytest

from chimera.agents.warehouse import Warehouse
from chimera.agents.warehouse_metrics import WarehouseMetrics
from chimera.agents.warehouse_readers import WarehouseReaders
from chimera.schemas.errors import Malformed
from chimera.schemas.server_settings import KafkaSettings
from chimera.stores import audit_log, clickhouse, inference_log, warehouse_tables
from chimera.stores.sink import Limits, Sink
from tests.integration.clickhouse_at import Server
from tests.integration.topics import new_topic, produce_values, topic_of
from tests.waiting import until

LOGS = {"inference.journal": inference_log.LOG, "audit.log": audit_log.destination()}


def test_warehouse_whose_last_table_cannot_go_on_ends(
    kafka: str, prefix: str, clickhouse_at: Server
) -> None:
    topics = [asyncio.run(new_topic(kafka, prefix + name)) for name in LOGS]
    writer = clickhouse.server(clickhouse_at.dsn)
    warehouse_tables.migrate(writer)
    metrics, settings = WarehouseMetrics(), KafkaSettings(bootstrap=kafka, group=prefix)

    def stopped() -> list[float | None]:
        name, tables = "chimera_sink_stopped", ("inference_log", "audit_log")
        return [metrics.registry.get_sample_value(name, {"table": table}) for table in tables]

    async def work() -> None:
        readers = [
            Warehouse(topic_of(topic), Sink(writer, log, Limits(seconds=0.02)), metrics, settings)
            for topic, log in zip(topics, LOGS.values(), strict=True)
        ]
        both = WarehouseReaders(readers, metrics)
        await both.start()
        running = asyncio.create_task(both.run())
        try:
            assert stopped() == [0, 0]
            produce_values(kafka, topics[0], [b"no segment"])
            await asyncio.to_thread(until, lambda: stopped() == [1, 0])
            assert not running.done()
            produce_values(kafka, topics[1], [b"no leaf"])
            with pytest.raises(Malformed, match="audit leaf"):
                await asyncio.wait_for(running, 60)
        finally:
            running.cancel()
            await both.stop()

    asyncio.run(work())
