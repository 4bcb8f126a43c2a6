"""Where the warehouse's interface can be asked is told beside its folder, as long as it can be."""

import asyncio
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge
from pydantic import SecretStr

from chimera.cli.warehousing import engine, http_server
from chimera.cli.watching import scrape
from chimera.schemas.history_settings import ClickHouseSettings

OWN = SecretStr("http://127.0.0.1:9")  # it is not asked here


async def asked_at(settings: ClickHouseSettings) -> tuple[str | None, set[str]]:
    """What is told while it serves: where its metrics are, and what tables they say have stopped."""
    registry = CollectorRegistry()
    stopped = Gauge("chimera_sink_stopped", "Tables", ["table"], registry=registry)
    for table, value in (("inference_log", 0), ("audit_log", 1)):
        stopped.labels(table).set(value)
    async with http_server.serving(settings, registry):
        url = engine.metrics_page(settings)
        page, failures = await asyncio.to_thread(scrape.pages, [url] if url is not None else [])
        assert failures == {}
    return url, page.stopped


def test_metrics_of_a_server_of_ones_own_are_found_while_it_serves(tmp_path: Path) -> None:
    settings = ClickHouseSettings(dir=tmp_path / "clickhouse", dsn=OWN, http_port=0)
    url, stopped = asyncio.run(asked_at(settings))
    assert url is not None
    assert stopped == {"audit_log"}
    assert engine.metrics_page(settings) is None
    assert engine.served(settings) is None, "statements go to the server itself"


def test_folder_that_cannot_be_written_keeps_nobody_from_a_server_of_ones_own(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    settings = ClickHouseSettings(dir=tmp_path / "file" / "clickhouse", dsn=OWN, http_port=0)
    assert asyncio.run(asked_at(settings)) == (None, set())
