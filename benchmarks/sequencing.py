"""The audit log's speed: what the sequencer does in a second beside the spine, and what a leaf costs.

    sequencer   a backlog of the journal becomes leaves: a process of its own on a real broker
    stages      processor time of each step of a leaf, one core, no Kafka
    verifier    a million leaves from memory, with a checkpoint for each thousand; and one proof
    clickhouse  the same out of ClickHouse, over HTTP (`proofs`)

The journal has commitments and windows of 4,096 requests, as the spine writes them under load. The
spine, in both guarantees, has its turns in the same rounds (`spine`): the better one counts.
`tests/benchmarks/test_spine.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

import asyncio
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks import proofs, spine
from benchmarks.audit import CHECKPOINT_EVERY, ORIGIN
from benchmarks.contenders import Contender, Place, our_settings
from benchmarks.environments import ROOT
from benchmarks.sitting import Report, Sitting
from benchmarks.throughput import OURS
from benchmarks.trial import Trial
from chimera.schemas.batches import encode
from chimera.schemas.columns import constant, numbers
from chimera.schemas.headers import tail
from chimera.schemas.journal import SegmentHead, encode_segment, framed, key
from chimera.schemas.journal_rows import NO_SLACK, OK, PART_ROWS, Group, Rows, read_part, write_part
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.settings import Settings
from chimera.schemas.signing import new_key
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.log_records import Indexed, encode_records, rows
from chimera.schemas.transparency.merkle import leaf_hash, prove_inclusion, verify_inclusion
from chimera.schemas.transparency.policy import LogKey, Policy
from chimera.schemas.transparency.request_leaves import leaves
from chimera.schemas.transparency.verification import verify
from chimera.stores.checkpoint_file import head_of
from chimera.topics import admin, clients, log_reader
from chimera.topics.catalogue import Catalogue, catalogue
from chimera.topics.producers import IdempotentProducer, Produced

WINDOW = 4_096
AT_MS = 1_763_717_416_000
WITHIN_S = 600.0
GROUP = Group("default", "digits", "1", "0" * 64, "onnx-cpu", "cpu:0", 256, 900, 700, 2_000)
PROOFS = 20


def run(sitting: Sitting, *, leaves: int, requests: int, executors: int, verified: int) -> Report:
    """All of them: `leaves` of the backlog, `requests` of the spine's, `verified` of the other two."""
    sequencer = Contender(
        "sequencer", "exactly once", lambda _: [], ours=True, answers=False, partitions=1
    )

    def one(trial: Trial) -> Report:
        trial.make_topics()
        found = _sequenced(trial.place, leaves)
        sitting.say(f"sequencer: {found['leaves_s']:,.0f} leaves/s")
        return found

    reports, beside = spine.beside(
        sitting,
        [sequencer],
        one,
        rate="leaves_s",
        guarantees=OURS,
        requests=requests,
        executors=executors,
    )
    rounds = reports[sequencer.name]
    sitting.say("stages")
    stages = _stages()
    sitting.say(f"{verified:,} leaves are verified")
    from_memory = _verified(verified)
    sitting.say(f"{verified:,} leaves are proved and verified from ClickHouse")
    return {
        **sitting.head("audit"),
        "leaves": leaves,
        "sequencer": {name: statistics.median(one[name] for one in rounds) for name in rounds[0]},
        **beside,
        "stages_us": stages,
        "verified": verified,
        **from_memory,
        "clickhouse": proofs.run(Path(tempfile.mkdtemp(dir=sitting.work)), verified),
    }


def _sequenced(place: Place, leaves: int) -> dict[str, float]:
    """Leaves a second from the first committed one to the last, and the processor's share."""
    kafka = KafkaSettings(
        bootstrap=place.bootstrap,
        group=place.group,
        topic_prefix=place.prefix,
        partitions=place.partitions,
    )
    settings = Settings(kafka=kafka)
    topics = catalogue(settings)
    asyncio.run(_journal(kafka, topics, leaves))
    ready = place.folder / "ready"
    environment = our_settings(place) | {
        "CHIMERA_AUDIT__KEY": new_key().pem().decode(),
        "CHIMERA_AUDIT__CHECKPOINTS_FILE": str(place.folder / "checkpoints.txt"),
    }
    command = [sys.executable, "-m", "chimera.cli", "sequencer", "--ready-file", str(ready)]
    with subprocess.Popen(command, env=os.environ | environment, cwd=ROOT) as process:
        try:
            return _timed(process, ready, settings, topics, leaves)
        finally:
            process.terminate()


def _timed(
    process: subprocess.Popen[bytes],
    ready: Path,
    settings: Settings,
    topics: Catalogue,
    requests: int,
) -> dict[str, float]:
    watched = psutil.Process(process.pid)
    while not ready.exists():
        assert process.poll() is None
        time.sleep(0.01)
    began_s, cpu = time.perf_counter(), watched.cpu_times()
    asyncio.run(_until_signed(settings, topics, requests))
    took_s, after = time.perf_counter() - began_s, watched.cpu_times()
    used_s = after.user + after.system - cpu.user - cpu.system
    return {
        "leaves_s": requests / took_s,
        "seconds": took_s,
        "cpu_us": used_s / requests * 1e6,
        "leaves_s_of_a_core": requests / used_s,
    }


async def _until_signed(settings: Settings, topics: Catalogue, requests: int) -> None:
    """Until a checkpoint covers them all."""
    arguments = clients.consumer_arguments(settings.kafka)
    async with (
        asyncio.timeout(WITHIN_S),
        log_reader.reading(arguments, topics.audit_checkpoints.name) as reader,
    ):
        while True:
            last = await reader.last()
            if last is not None and head_of(last[0]).size >= requests:
                return
            await asyncio.sleep(0.02)


async def _journal(kafka: KafkaSettings, topics: Catalogue, requests: int) -> None:
    """The backlog."""
    name = topics.journal.name
    async with admin.connected(kafka) as client:
        await client.set_topics([name])
        producer = IdempotentProducer(client, "none", call_timeout_s=30)
        await producer.open()
        for start in range(0, requests, WINDOW):
            value = _segment(topics.requests.name, start, min(requests, start + WINDOW))
            records = encode([key(topics.requests.name, 0)], [tail(value, 0, b"")])
            await producer.produce([Produced(name, 0, records)])
        await producer.close()


def _segment(topic: str, start: int, end: int) -> bytes:
    parts = [
        framed(write_part(_rows(at, min(end, at + PART_ROWS))))
        for at in range(start, end, PART_ROWS)
    ]
    return encode_segment(_head(topic, start, end), parts)


def _head(topic: str, start: int, end: int) -> SegmentHead:
    return SegmentHead(
        topic=topic, partition=0, start=start, next=end, guarantee="exactly_once", node="n:1"
    )


def _rows(start: int, end: int) -> Rows:
    count = end - start
    return Rows(
        (GROUP,),
        (OK,),
        numbers(range(start, end)),
        constant(0, count),
        constant(0, count),
        constant(AT_MS, count),
        numbers([1_300 + at % 7 for at in range(count)]),
        numbers([250 + at % 5 for at in range(count)]),
        constant(NO_SLACK, count),
        constant(0, count),
        [b"request-%08d" % at for at in range(start, end)],
        (),
        secrets.token_bytes(32 * count),
        secrets.token_bytes(32 * count),
    )


def _stages() -> dict[str, float]:
    """Microseconds of processor time a leaf, the best of some repetitions."""
    raw = [write_part(_rows(at, at + PART_ROWS)) for at in range(0, 20 * PART_ROWS, PART_ROWS)]
    head = _head("inference.requests", 0, 20 * PART_ROWS)
    parts = [read_part(one) for one in raw]
    bodies = [body for part in parts for body in leaves(head, part, AT_MS)]
    hashes = [leaf_hash(body) for body in bodies]
    tree = CompactRange().extend(hashes)
    steps: dict[str, Callable[[], object]] = {
        "read a part": lambda: [read_part(one) for one in raw],
        "canonical bytes": lambda: [leaves(head, part, AT_MS) for part in parts],
        "leaf hash": lambda: [leaf_hash(body) for body in bodies],
        "tree": lambda: CompactRange().extend(hashes),
        "record and compression": lambda: encode_records(0, bodies, tree, b"{}", b"{}"),
    }
    return {name: _best(step) / len(bodies) * 1e6 for name, step in steps.items()}


def _best(step: Callable[[], object], repeats: int = 9) -> float:
    found: list[float] = []
    for _ in range(repeats):
        began = time.process_time()
        step()
        found.append(time.process_time() - began)
    return min(found)


def _verified(count: int) -> dict[str, float]:
    """So many leaves, and proofs of single ones from their hashes."""
    head = _head("inference.requests", 0, count)
    spans = range(0, count, PART_ROWS)
    bodies = [
        body for at in spans for body in leaves(head, _rows(at, min(count, at + PART_ROWS)), AT_MS)
    ]
    log = list(rows(Indexed(at, body) for at, body in enumerate(bodies)))
    hashes = [row.leaf_hash for row in log]
    signing, tree, notes = new_key(), CompactRange(), list[bytes]()
    for first in range(0, count, CHECKPOINT_EVERY):
        tree = tree.extend(hashes[first : first + CHECKPOINT_EVERY])
        notes.append(checkpoints.sign(Checkpoint(ORIGIN, tree.size, tree.root()), signing).encode())
    policy = Policy((LogKey(checkpoints.log_key(ORIGIN, signing)),))
    began = time.perf_counter()
    if not verify(log, notes, policy).is_good:
        raise SystemExit("the log does not verify")
    verify_s = time.perf_counter() - began
    proof_ms: list[float] = []
    for number in range(PROOFS):
        index = number * count // PROOFS
        began = time.perf_counter()
        proof = prove_inclusion(hashes, index)
        proof_ms.append((time.perf_counter() - began) * 1_000)
        verify_inclusion(hashes[index], index, proof, size=count, root=tree.root())
    return {"verify_s": verify_s, "proof_ms": statistics.median(proof_ms)}
