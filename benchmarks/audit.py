"""What the audit log costs a leaf, and how long a verifier takes over a million of them.

`python -m benchmarks.audit` prints seconds of processor time, and of the clock, for LEAVES leaves of
requests: made, hashed, chained, appended to the tree, committed to; then verified with a checkpoint
for each thousand, once from memory and once from an export. A rival is not there: other verifiers of
logs fetch over a network, and check a proof for each leaf.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from chimera.schemas.commitments import KEY_BYTES, Commitments
from chimera.schemas.signing import new_key
from chimera.schemas.transparency import chain, checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.leaves import RequestServed, encode_leaf
from chimera.schemas.transparency.merkle import leaf_hash
from chimera.schemas.transparency.policy import LogKey, Policy
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.verification import verify
from chimera.stores import audit_export

LEAVES = 1_000_000
CHECKPOINT_EVERY = 1_000
ORIGIN = "example.com/audit"

T = TypeVar("T")


@dataclass
class Stopwatch:
    """Adds a row to a table for each thing that it times."""

    table: Table

    def time(self, name: str, work: Callable[[], T]) -> T:
        clock_s, processor_s = time.perf_counter(), time.process_time()
        done = work()
        clock_s, processor_s = time.perf_counter() - clock_s, time.process_time() - processor_s
        per_leaf_us = processor_s / LEAVES * 1e6
        self.table.add_row(name, f"{processor_s:.2f}", f"{per_leaf_us:.2f}", f"{clock_s:.2f}")
        return done


def main() -> None:
    """Measure, check on the way that the log verifies, and print."""
    watch = Stopwatch(Table("what", "processor s", "us a leaf", "clock s"))
    bodies = watch.time("make and encode leaves", _bodies)
    watch.table.title = f"audit log, {LEAVES:,} leaves of {len(bodies[-1])} B"
    key = Commitments(bytes(KEY_BYTES))
    watch.time("commit to 1.3 kB inputs", lambda: _commit(key, bytes(1_300)))
    hashes = watch.time("leaf hashes", lambda: [leaf_hash(body) for body in bodies])
    chained = watch.time("chain hashes", lambda: list(chain.links(hashes)))
    watch.time("append to the tree", lambda: CompactRange().extend(hashes))
    rows = [Row(at, *row) for at, row in enumerate(zip(bodies, hashes, chained, strict=True))]
    notes, policy = _published(hashes)
    good = watch.time("verify, from memory", lambda: verify(rows, notes, policy).is_good)
    with tempfile.TemporaryDirectory() as folder:
        export = Path(folder) / "export"
        watch.time("write an export", lambda: audit_export.write(export, rows, notes, b""))
        read = watch.time(
            "verify an export",
            lambda: verify(audit_export.read_rows(export), notes, policy).is_good,
        )
    if not (good and read):
        raise SystemExit("the log does not verify")
    Console().print(watch.table)


def _bodies() -> list[bytes]:
    return [encode_leaf(leaf(number)) for number in range(LEAVES)]


def leaf(number: int) -> RequestServed:
    return RequestServed(
        at_ms=1_763_717_416_000 + number,
        tenant="acme",
        topic="inference.requests",
        partition=number % 4,
        offset=str(number),
        request_id=f"request-{number}",
        model="digits",
        version="7",
        digest="0a" * 32,
        tier="onnx-cpu",
        executor="node-1/cpu:0",
        outcome="ok",
        input=f"{number:064x}",
        output=f"{number:064x}",
        commitment_key="0d" * 16,
        attempt=0,
        guarantee="exactly_once",
    )


def _commit(key: Commitments, content: bytes) -> None:
    for _ in range(LEAVES):
        key.of(content)


def _published(hashes: list[bytes]) -> tuple[list[bytes], Policy]:
    key, tree, notes = new_key(), CompactRange(), list[bytes]()
    for first in range(0, LEAVES, CHECKPOINT_EVERY):
        tree = tree.extend(hashes[first : first + CHECKPOINT_EVERY])
        notes.append(checkpoints.sign(Checkpoint(ORIGIN, tree.size, tree.root()), key).encode())
    return notes, Policy((LogKey(checkpoints.log_key(ORIGIN, key)),))


if __name__ == "__main__":
    main()
