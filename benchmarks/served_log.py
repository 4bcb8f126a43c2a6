"""An audit log in the embedded engine, served over HTTP by a process of its own, for others to prove from.

    python -m benchmarks.served_log FOLDER LEAVES

It fills the tables by the warehouse's own sinks, a checkpoint for each thousand leaves, says where it answers and
which key signed, as a line of JSON, and ends with its standard input. No Kafka.
"""

import asyncio
import hashlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import orjson
from prometheus_client import CollectorRegistry

from benchmarks.audit import CHECKPOINT_EVERY, ORIGIN, leaf
from chimera.cli.warehousing import engine, http_server
from chimera.schemas.history_settings import ClickHouseSettings
from chimera.schemas.signing import new_key
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.leaves import RequestServed, encode_leaf
from chimera.schemas.transparency.log_records import LOG_INDEX
from chimera.schemas.transparency.merkle import leaf_hash
from chimera.stores import audit_checkpoints, audit_log, warehouse_tables
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.sink import Limits, Sink
from chimera.stores.source import Record

AT_MS = 1_767_225_600_000
LIMITS = Limits(rows=50_000)


def fill(into: ClickHouse, leaves: int) -> str:
    """All of it; the public key."""
    key, tree, hashes = new_key(), CompactRange(), list[bytes]()
    log, notes = (
        Sink(into, audit_log.destination(), LIMITS),
        Sink(into, audit_checkpoints.LOG, LIMITS),
    )
    log.resume(0)
    notes.resume(0)
    for number in range(leaves):
        body = encode_leaf(committed(number))
        log.add(Record(0, number, AT_MS, body, ((LOG_INDEX, b"%d" % number),)))
        hashes.append(leaf_hash(body))
        if len(hashes) == CHECKPOINT_EVERY or number + 1 == leaves:
            tree = tree.extend(hashes)
            hashes.clear()
            note = checkpoints.sign(Checkpoint(ORIGIN, tree.size, tree.root()), key).encode()
            notes.add(Record(0, number, AT_MS, note))
    log.flush(all=True)
    notes.flush(all=True)
    return checkpoints.log_key(ORIGIN, key).text


def committed(number: int) -> RequestServed:
    """With commitments that no codec makes smaller, as real ones: they are most of a row."""
    given, answer = (hashlib.sha256(b"%d %d" % (number, at)).hexdigest() for at in range(2))
    return msgspec.structs.replace(leaf(number), input=given, output=answer)


async def _serve(settings: ClickHouseSettings, told: Mapping[str, object]) -> None:
    async with http_server.serving(settings, CollectorRegistry()):
        address = engine.address_file(settings).read_text("utf-8")
        sys.stdout.buffer.write(orjson.dumps({**told, "address": address}) + b"\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


def main(folder: Path, leaves: int) -> None:
    settings = ClickHouseSettings(dir=folder, http_port=0)
    with engine.opened(settings) as into:
        warehouse_tables.migrate(into)
        began, used = time.perf_counter(), time.process_time()
        key = fill(into, leaves)
        told = {
            "key": key,
            "fill_s": time.perf_counter() - began,
            "fill_cpu_s": time.process_time() - used,
        }
        asyncio.run(_serve(settings, told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
