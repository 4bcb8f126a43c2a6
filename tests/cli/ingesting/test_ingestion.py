"""What was served on a real Kafka, and what is said of it, joined by every rule, in several goes."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka and pyarrow ship no type information)

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import AIOKafkaProducer
from pyarrow import parquet  # type: ignore[import-untyped]  # ships no type information
from typer.testing import CliRunner

from chimera.cli.ingesting.ingestion import NEAR, near, opened_ingestion
from chimera.cli.main import app
from chimera.schemas.ingest_settings import IngestSettings
from chimera.schemas.settings import Settings
from chimera.schemas.training_sample import TrainingSample, encode_sample
from chimera.stores.samples import Samples
from tests.agents.replaying.past import Past, asked, past
from tests.cli.letters import starts

HOUR_MS = 3_600_000


def files(folder: Path) -> list[Path]:
    return list(folder.glob("model=*/date=*/*.parquet"))


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    """By the request's id; a row that is there twice fails."""
    found: dict[str, dict[str, Any]] = {}
    for path in files(folder):
        for row in parquet.ParquetFile(path).read().to_pylist():
            assert row["request_id"] not in found
            found[row["request_id"]] = row
    return found


def reasons(folder: Path) -> Counter[tuple[str, str]]:
    return Counter(
        (one["id"], one["reason"])
        for path in (folder / "rejected").glob("*.jsonl")
        for one in map(json.loads, path.read_text().splitlines())
    )


async def say(at: Past, *samples: TrainingSample | bytes) -> None:
    """Labels, in this order."""
    topic = at.topics.training_samples.name
    async with AIOKafkaProducer(bootstrap_servers=at.bootstrap) as producer:
        for one in samples:
            if isinstance(one, bytes):
                await producer.send_and_wait(topic, one, partition=0)
            else:
                value, key = encode_sample(one), one.id.encode()
                await producer.send_and_wait(topic, value, key, partition=0)


async def ingest(at: Past, **wanted: Any) -> dict[str, int]:
    folder = at.folder / "samples"
    chosen = IngestSettings(dir=folder, **{"window_s": 3_600, "commit_records": 3} | wanted)
    settings: Settings = at.settings.model_copy(update={"ingest": chosen})
    with Samples(folder) as samples:
        async with opened_ingestion(settings, at.bootstrap, samples) as ingestion:
            await ingestion.run()
        return samples.counts()


async def serve(
    at: Past,
    count: int = 1,
    *,
    values: Sequence[bytes] = (),
    partition: int = 0,
    error: str = "",
    meanwhile: Any = (),
) -> list[str]:
    """Requests, what is said meanwhile, and their results; the ids that they have."""
    values = values or [asked(float(number)) for number in range(count)]
    offsets = await at.ask(values, partition=partition)
    await say(at, *meanwhile)
    tails = [
        at.error(offset, error, partition=partition)
        if error
        else at.response(offset, value, number + 1.0, partition=partition)
        for number, (offset, value) in enumerate(zip(offsets, values, strict=True))
    ]
    await at.serve(tails, partition=partition)
    where = f"{at.topics.requests.name}:{partition}"
    return [f"{where}:{offset}" if error else f"r{offset}" for offset in offsets]


def label(id: str, value: float = 1.0, observed_ms: int | None = None) -> TrainingSample:
    return TrainingSample(id=id, label=value, observed_ms=observed_ms)


def test_served_traffic_and_labels_are_joined_by_the_rules(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async def play() -> None:
        async with past(kafka, prefix, tmp_path, partitions=2) as at:
            folder = tmp_path / "samples"
            before = (label("r1", 7.0), b"no sample")
            ids = await serve(at, 6, meanwhile=before)
            twin, early, good, several, leaking, late = ids
            assert [twin] == await serve(at, partition=1)
            await ingest(at)
            assert rows(folder).keys() == {early}
            now_ms = rows(folder)[early]["requested_ms"]
            await say(
                at,
                label(good, 5.0),
                label(good, 5.0),
                label(good, 6.0),
                label(twin),
                label(leaking, observed_ms=now_ms - HOUR_MS),
                label(leaking, 9.0),
                label(late, observed_ms=now_ms + 2 * HOUR_MS),
                TrainingSample(id=several, label=(1.0, 2.0, 3.0)),
                label("nobody"),
            )
            counts = await ingest(at)
            found = rows(folder)
            assert found.keys() == {early, good, leaking}
            assert (found[good]["label"], found[leaking]["label"]) == (5.0, 9.0)
            assert found[good]["input_x"] == [2.0, 1.0]
            assert found[good]["output_y"] == [3.0]
            assert found[good]["model_digest"] == "5" * 64
            told = reasons(folder)
            assert told == {
                ("", "malformed"): 1,
                (good, "duplicate"): 1,
                (good, "conflict"): 1,
                (twin, "ambiguous"): 1,
                (leaking, "leaking"): 1,
                (late, "late"): 1,
                (several, "misfit"): 1,
            }
            assert counts == {"joined": 3} | dict.fromkeys({one for _, one in told}, 1)
            assert await ingest(at) == counts

    asyncio.run(play())


def test_error_and_request_that_is_gone_and_label_of_nobody_give_no_row(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async def play() -> None:
        async with past(kafka, prefix, tmp_path) as at:
            (failed,) = await serve(at, error="model_error")
            (gone,) = await serve(at)
            await at.forget(at.topics.requests.name, 2)
            await say(at, label(failed), label(gone), label("nobody"))
            assert await ingest(at) == {"failed": 1, "gone": 1}
            await asyncio.sleep(2.1)  # the window, twice: the broker's clock decides
            await serve(at)
            counts = await ingest(at, window_s=1)
            assert counts == {"failed": 1, "gone": 1, "unknown": 1}
            assert reasons(tmp_path / "samples")["nobody", "unknown"] == 1

    asyncio.run(play())


def claim(folder: Path, name: str, content: bytes) -> bytes:
    """A request whose input rests in the folder, with the claim that `content` is there."""
    url, digest = f"file://{folder}/{name}", hashlib.sha256(content).hexdigest()
    about = {"claim_url": url, "claim_sha256": digest, "claim_size": len(content)}
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": about}
    return json.dumps({"model_name": "sums", "inputs": [tensor]}).encode()


def test_inputs_of_claim_checks_are_joined_and_a_storage_that_does_not_answer_is_waited_for(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async def play() -> None:
        claims = tmp_path / "claims"
        allowed = (f"file://{claims}/",)
        async with past(kafka, prefix, tmp_path, claim_prefixes=allowed) as at:
            content = np.array([3.0, 4.0], "<f4").tobytes()
            (claims / "away").mkdir(parents=True)  # a folder is no file: the storage fails
            for name, there in (("one", content), ("two", content), ("other", bytes(8))):
                (claims / name).write_bytes(there)
            names = ("one", "two", "other", "none", "away")
            values = [claim(claims, name, content) for name in names]
            one, two, other, none, away, plain = await serve(at, values=[*values, asked(5.0)])
            said = [label(id) for id in (one, away, two, other, none, plain)]
            await say(at, *said, label(away, 2.0))
            assert await ingest(at, commit_bytes=1) == {"gone": 2, "joined": 3}
            found = rows(tmp_path / "samples")
            assert found.keys() == {one, two, plain}
            assert len(files(tmp_path / "samples")) == 3
            assert found[one]["input_x"] == [3.0, 4.0]
            assert found[plain]["input_x"] == [5.0, 1.0]
            assert reasons(tmp_path / "samples").keys() == {(other, "gone"), (none, "gone")}
            (claims / "away").rmdir()
            (claims / "away").write_bytes(content)
            assert await ingest(at) == {"conflict": 1, "gone": 2, "joined": 4}
            assert rows(tmp_path / "samples")[away]["label"] == 1.0

    asyncio.run(play())


def test_command_tells_what_it_joined(kafka: str, prefix: str, tmp_path: Path) -> None:
    async def play() -> None:
        async with past(kafka, prefix, tmp_path) as at:
            (id,) = await serve(at)
            await say(at, label(id))

    asyncio.run(play())
    folder = tmp_path / "samples"
    environment = {
        "CHIMERA_KAFKA__TOPIC_PREFIX": prefix,
        "CHIMERA_KAFKA__PARTITIONS": "1",
        "CHIMERA_INGEST__DIR": str(folder),
    }
    result = CliRunner().invoke(app, ["ingest", "--bootstrap", kafka], env=environment)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{folder}: joined 1\n"
    assert rows(folder).keys() == {"r0"}


def test_command_that_goes_on_tells_the_audit_log_that_it_begins(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async def play() -> None:
        async with past(kafka, prefix, tmp_path) as at:
            await serve(at)

    asyncio.run(play())
    environment = {
        **os.environ,
        "CHIMERA_KAFKA__TOPIC_PREFIX": prefix,
        "CHIMERA_KAFKA__PARTITIONS": "1",
        "CHIMERA_INGEST__DIR": str(tmp_path / "samples"),
    }
    command = [sys.executable, "-m", "chimera.cli", "ingest", "--every", "0.1", "--bootstrap"]
    with subprocess.Popen([*command, kafka], stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None  # a pipe was asked for
        assert len(list(islice(child.stdout, 2))) == 2  # two looks, and one start
        child.terminate()
    assert starts(kafka, prefix) == ["ingest"]


def test_command_that_goes_on_outlives_brokers_that_are_away(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "chimera.cli", "ingest", "--every", "0.1", "--bootstrap"]
        environment = os.environ | {"CHIMERA_INGEST__DIR": str(tmp_path / "samples")}
        with subprocess.Popen([*command, where], stderr=subprocess.PIPE, env=environment) as child:
            assert child.stderr is not None  # a pipe was asked for
            told = (line for line in child.stderr if b"trying again in 0.1 s" in line)
            assert len(list(islice(told, 2))) == 2
            child.terminate()


def test_wanted_offsets_that_lie_near_are_read_in_one_go() -> None:
    assert near([]) == []
    assert near([5, 1, 2]) == [(1, 6)]
    assert near([0, NEAR + 2, 2 * NEAR]) == [(0, 1), (NEAR + 2, 2 * NEAR + 1)]
