"""Proofs out of ClickHouse: one at a time, over HTTP, from a log of a million leaves; and all of it verified.

    proof    found by the request's name, its checkpoint's signature and its path verified
    verify   every row fetched and hashed, a checkpoint for each thousand

The engine and its HTTP interface are a process of their own (`served_log`), which shares the
machine with the one that asks. `chimera bench audit` runs it; so does `python -m benchmarks.proofs`.
"""

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil

from benchmarks.environments import ROOT
from chimera.schemas.transparency import leaf_proofs, policy_file
from chimera.schemas.transparency.policy import Policy
from chimera.schemas.transparency.verification import verify
from chimera.stores import clickhouse
from chimera.stores.audit_table import AuditTable

LEAVES = 1_000_000
PROOFS = 300


def run(folder: Path, leaves: int = LEAVES) -> dict[str, Any]:
    """Milliseconds of a proof, seconds of a verification, bytes of a row."""
    with _served(folder, leaves) as told:
        began = time.perf_counter()
        server = clickhouse.server(told["address"])
        connect_ms = (time.perf_counter() - began) * 1_000
        log = AuditTable(server)
        process = psutil.Process(told["pid"])
        policy = policy_file.decode(f"log {told['key']}\nquorum none\n".encode(), "bench")
        try:
            return {
                "leaves": leaves,
                "connect_ms": connect_ms,
                "proof_ms": _proof_ms(log, policy, leaves, process),
                **_verified(log, policy, leaves, process),
                "bytes_a_row": _bytes_a_row(server, leaves),
                "fill_s": told["fill_s"],
                "fill_cpu_s": told["fill_cpu_s"],
            }
        finally:
            server.close()


def _proof_ms(
    log: AuditTable, policy: Policy, leaves: int, server: psutil.Process
) -> dict[str, float]:
    """From a request's name to its verified proof; `cpu`: of both processes, the mean."""
    used, before = time.process_time(), server.cpu_times()
    numbers, found = random.Random(7).sample(range(leaves), PROOFS), list[float]()
    for number in numbers:
        began = time.perf_counter()
        (leaf,) = log.find(f"request-{number}")
        proof = leaf_proofs.prove(log, leaf, policy)
        found.append((time.perf_counter() - began) * 1_000)
        assert proof.index == number
    cuts = statistics.quantiles(found, n=100)
    used = time.process_time() - used + sum(server.cpu_times()[:2]) - sum(before[:2])
    cpu_ms = used * 1_000 / PROOFS
    return {"min": min(found), "p50": cuts[49], "p99": cuts[98], "cpu": cpu_ms}


def _verified(
    log: AuditTable, policy: Policy, leaves: int, server: psutil.Process
) -> dict[str, float]:
    began, used, before = time.perf_counter(), time.process_time(), server.cpu_times()
    if not verify(log.rows(leaves), log.checkpoints(), policy).is_good:
        raise SystemExit("the log does not verify")
    return {
        "verify_s": time.perf_counter() - began,
        "verify_cpu_s": time.process_time() - used,
        "verify_server_cpu_s": sum(server.cpu_times()[:2]) - sum(before[:2]),
    }


def _bytes_a_row(server: clickhouse.ClickHouse, leaves: int) -> dict[str, float]:
    """Of `audit_log`: on the disk, and before compression."""
    ((rows, *sizes),) = server.rows(
        "SELECT sum(rows), sum(bytes_on_disk), sum(data_uncompressed_bytes) FROM system.parts"
        f" WHERE active AND database = '{clickhouse.DATABASE}' AND table = 'audit_log'"
    )
    assert rows == leaves
    return {name: size / rows for name, size in zip(("stored", "uncompressed"), sizes, strict=True)}


@contextmanager
def _served(folder: Path, leaves: int) -> Generator[dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.served_log", str(folder), str(leaves)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT) as process:
        assert process.stdin and process.stdout
        try:
            told = next(orjson.loads(line) for line in process.stdout if line.startswith(b"{"))
            yield told | {"pid": process.pid}
        finally:
            process.stdin.close()
            process.wait()


def main() -> None:
    leaves = int(sys.argv[1]) if len(sys.argv) > 1 else LEAVES
    with tempfile.TemporaryDirectory(prefix="chimera-bench-") as folder:
        report = run(Path(folder), leaves)
    sys.stdout.buffer.write(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
