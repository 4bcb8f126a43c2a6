"""A past for tests of replays: requests on a real Kafka, and what is said to have been served.

Requests are sums' (`tests.workers.rig`): y = x0 + x1. Results are what executors write, header for
header; transactions are real ones.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from onnx import TensorProto, helper, numpy_helper

from chimera.agents.lanes.outcomes import Case, Error, error_tail
from chimera.agents.replaying.history import History, opened
from chimera.agents.replaying.replay import Replay, Wanted
from chimera.schemas import inference, responses, stored
from chimera.schemas.batches import encode
from chimera.schemas.placements import Placement
from chimera.schemas.responses import Computed, Output
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.settings import Settings
from chimera.topics import admin, dead_letters
from chimera.topics.catalogue import Catalogue, catalogue
from chimera.topics.dead_letters import Copy, Failure, Origin
from chimera.workers.models import write_model
from chimera.workers.replaying.candidate import Candidate
from chimera.workers.replaying.rule import Rule
from chimera.workers.replaying.tally import Tally
from chimera.workers.results import Coordinates, Lot, Tails, Told
from tests.workers.rig import manifest, onnx_model, request

SERVED, CANDIDATE = "5" * 64, "c" * 64  # digests
MARK = 111.5  # from this x0 on the candidate of tests answers one more
LATER_MS = 2**52

Headers = Sequence[tuple[str, bytes | None]]
Compressed = Literal["gzip", "snappy", "lz4", "zstd"]


def marked_sums() -> bytes:
    """An ONNX model: y [n, 1] = x0 + x1, and one more where x0 reaches `MARK`."""

    def graph() -> onnx.GraphProto:
        weights = {"ones": np.ones((2, 1), "f4"), "first": np.array([[1], [0]], "f4")}
        mark = numpy_helper.from_array(np.array(MARK, "f4"), "mark")
        return helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "ones"], ["sum"]),
                helper.make_node("MatMul", ["x", "first"], ["x0"]),
                helper.make_node("GreaterOrEqual", ["x0", "mark"], ["reaches"]),
                helper.make_node("Cast", ["reaches"], ["more"], to=TensorProto.FLOAT),
                helper.make_node("Add", ["sum", "more"], ["y"]),
            ],
            "marked",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
            [*(numpy_helper.from_array(array, name) for name, array in weights.items()), mark],
        )

    return onnx_model(graph)


def asked(x0: float, x1: float = 1.0, model: str = "sums", **fields: Any) -> bytes:
    return request([x0, x1], model, **fields)


@dataclass(frozen=True)
class Past:
    """Of one test: topics of its own."""

    settings: Settings
    topics: Catalogue
    folder: Path

    @property
    def bootstrap(self) -> str:
        return self.settings.kafka.bootstrap or ""

    async def ask(
        self,
        values: Iterable[bytes],
        *,
        partition: int = 0,
        headers: Headers = (),
        compression: Compressed | None = None,
    ) -> list[int]:
        """Requests by a producer of their own; their offsets."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, compression_type=compression, linger_ms=20
        )
        async with producer:
            sent = [
                await producer.send(
                    self.topics.requests.name, value, partition=partition, headers=list(headers)
                )
                for value in values
            ]
            return [(await one).offset for one in sent]

    async def serve(
        self,
        tails: Iterable[bytes],
        *,
        partition: int = 0,
        letters: Iterable[Copy] = (),
        aborts: bool = False,
    ) -> None:
        """Results and dead letters, in one transaction."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, transactional_id=f"{self.topics.results.name}-served"
        )
        async with producer:
            await producer.begin_transaction()
            for value, headers in map(_told, tails):
                await producer.send(
                    self.topics.results.name, value, partition=partition, headers=headers
                )
            for letter in letters:
                await producer.send(
                    self.topics.dead_letters.name,
                    letter.value,
                    partition=partition,
                    headers=letter.headers,
                )
            await producer.flush()
            await (producer.abort_transaction() if aborts else producer.commit_transaction())

    def response(
        self,
        offset: int,
        value: bytes,
        y: float,
        *,
        partition: int = 0,
        rows: int = 8,
        digest: str = SERVED,
    ) -> bytes:
        """The record of a response, as an executor writes it."""
        decoded = inference.decode(value)
        made = Computed("sums", "1", (Output("y", "FP32", np.array([[y]], "f4")),))
        response = responses.encode(made, decoded, f"r{offset}")
        shared = Tails("sums", digest, "onnx-cpu").batch(Told(rows, 10, 1_000, 1_500))
        where = Coordinates(self.topics.requests.name, partition)
        return Lot(shared).one(where, offset, response, None)

    def error(self, offset: int, code: str, *, partition: int = 0) -> bytes:
        """The record of an error outcome."""
        return error_tail(Error(code, "it failed", Case(self._origin(offset, partition), [])))

    def letter(self, offset: int, value: bytes, code: str, *, partition: int = 0) -> Copy:
        """The dead letter of one."""
        failure = Failure(code, "it failed", 1, 1)
        origin = self._origin(offset, partition)
        return dead_letters.dead_letter(Copy(None, value, []), origin, failure, 1 << 20)

    def _origin(self, offset: int, partition: int) -> Origin:
        return Origin(self.topics.requests.name, partition, offset, 1)

    async def forget(self, topic: str, before: int, *, partition: int = 0) -> None:
        """What retention does."""
        client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await client.start()
        try:
            where = TopicPartition(topic, partition)
            await client.delete_records({where: RecordsToDelete(before)}, timeout_ms=10_000)
        finally:
            await client.close()

    @asynccontextmanager
    async def history(self) -> AsyncGenerator[History]:
        topics = [self.topics.requests, self.topics.results, self.topics.dead_letters]
        names = [topic.name for topic in topics]
        async with opened(self.settings, self.bootstrap, names) as history:
            yield history

    async def replay(self, model: bytes | None = None, **wanted: Any) -> tuple[Tally, Replay]:
        """All of it through a candidate: an ONNX model, `marked_sums` if none is given."""
        content = marked_sums() if model is None else model
        folder = self.folder / "sums" / "2"
        if not folder.exists():
            write_model(self.folder, content, manifest("sums", "2"))
        placement = Placement("sums", "2", CANDIDATE, str(folder))
        tally = Tally(Rule(manifest("sums", "2")))
        async with (
            self.history() as history,
            Candidate(self.settings, placement) as candidate,
        ):
            replay = Replay(self.settings, history, candidate, tally)
            given: dict[str, Any] = {
                "max_requests": 10_000,
                "since_ms": 0,
                "until_ms": LATER_MS,
                **wanted,
            }
            await replay.run(Wanted(model="sums", digest=CANDIDATE, **given))
        return tally, replay


@asynccontextmanager
async def past(
    bootstrap: str, prefix: str, folder: Path, partitions: int = 1, **serving: Any
) -> AsyncGenerator[Past]:
    settings = Settings(
        kafka=KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix, partitions=partitions),
        serving=ServingSettings(devices=("cpu",), **serving),
    )
    topics = catalogue(settings)
    async with admin.connected(settings.kafka) as client:
        assert not await admin.apply(client, topics, await admin.plan(client, topics))
    yield Past(settings, topics, folder)


def _told(tail: bytes) -> tuple[bytes | None, list[tuple[str, bytes | None]]]:
    (record,) = stored.parse(encode([None], [tail]).sent_by(-1, -1, -1, transactional=False))
    return record.value, list(record.headers)
