"""Results read back: which request one answers, its error code, and its tensors.

A client's side of the wire, for the commands that publish requests and wait. Everything is read
under `read_committed`: what a transaction has not made visible does not exist. A request is (topic,
partition, offset), and its result says so in headers. `tests/cli/test_infer.py` and
`demoing/test_demo.py` read real ones.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import orjson
from aiokafka import AIOKafkaConsumer

from chimera.schemas import headers as names
from chimera.schemas.errors import KafkaUnavailable
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.tensors import Array, layout, read_binary
from chimera.topics import admin, clients

FETCH_WAIT_MS = (
    20  # longer: a partition that was just read waits for a fetch of idle ones to return
)


class Record(Protocol):
    """A Kafka record as aiokafka parses it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class Coordinates(NamedTuple):
    """Which record it is."""

    topic: str
    partition: int
    offset: int


RESULT = (names.REQUEST_TOPIC, names.REQUEST_PARTITION, names.REQUEST_OFFSET)
DEAD_LETTER = (names.ORIG_TOPIC, names.ORIG_PARTITION, names.ORIG_OFFSET)


class Story(NamedTuple):
    """What a result's or a dead letter's headers say."""

    request: Coordinates | None  # None: the record is not one of Chimera's
    code: str | None  # None: a response
    head: int  # bytes of the JSON before raw tensors; -1: all of it is JSON


def story(record: Record, coordinates: tuple[str, str, str] = RESULT) -> Story:
    """Read the headers of a result, or with `DEAD_LETTER` of a dead letter."""
    found = dict(record.headers)
    topic, partition, offset = (found.get(name) for name in coordinates)
    code = found.get(names.ERROR_CODE)
    request = None
    if topic is not None and partition is not None and offset is not None:
        request = Coordinates(topic.decode(), int(partition), int(offset))
    head = int(found.get(names.HEAD_LENGTH) or -1)
    return Story(request, code.decode() if code else None, head)


def head_of(value: bytes, head: int = -1) -> dict[str, Any]:
    """The JSON of a result's value."""
    found: dict[str, Any] = orjson.loads(value[:head] if head >= 0 else value)
    return found


def outputs(value: bytes, head: int = -1) -> dict[str, Array]:
    """A response's outputs by name, in their shapes, be they JSON or raw."""
    position = head
    found: dict[str, Array] = {}
    for output in head_of(value, head)["outputs"]:
        wanted = layout(output["datatype"], tuple(output["shape"]))
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            flat = np.asarray(output["data"], wanted.datatype.dtype)
        else:
            flat = read_binary(wanted, value[position : position + size])
            position += size
        found[output["name"]] = flat.reshape(wanted.shape)
    return found


def as_json(value: bytes, head: int = -1) -> dict[str, Any]:
    """A result as if none of it were raw, for people to read; BYTES that are no text as latin-1."""
    found = head_of(value, head)
    if head >= 0:
        arrays = outputs(value, head)
        for output in found["outputs"]:
            output.pop("parameters", None)
            elements = arrays[output["name"]].ravel().tolist()
            output["data"] = [_readable(element) for element in elements]
    return found


def _readable(element: object) -> object:
    return element.decode("latin-1") if isinstance(element, bytes) else element


@asynccontextmanager
async def reading(
    kafka: KafkaSettings,
    bootstrap: str,
    topics: Iterable[str],
    *,
    start: Literal["beginning", "end"],
) -> AsyncGenerator[AIOKafkaConsumer, None]:
    """A consumer that has every partition of the topics, belongs to no group, and is in place.

    Raises:
        KafkaUnavailable: a topic is missing.
    """
    names = list(topics)
    async with admin.connected(kafka, bootstrap) as client:
        missing = set(names) - set(await admin.topic_ids(client, names))
    if missing:
        raise KafkaUnavailable(
            f"there is no topic {', '.join(sorted(missing))}: `chimera topics sync --apply`"
        )
    consumer = AIOKafkaConsumer(
        *names,
        **clients.consumer_arguments(kafka, bootstrap, "chimera-reader"),
        # not by seeking: the consumer looks for its own place meanwhile, and may find it later
        auto_offset_reset="earliest" if start == "beginning" else "latest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    try:
        await consumer.start()
        for partition in consumer.assignment():
            await consumer.position(partition)  # settled before anything is sent
        yield consumer
    finally:
        await consumer.stop()


async def is_at_end(consumer: AIOKafkaConsumer) -> bool:
    """Whether everything that is visible now has been read."""
    assigned = consumer.assignment()
    ends = await consumer.end_offsets(assigned)
    return all([await consumer.position(where) >= end for where, end in ends.items()])
