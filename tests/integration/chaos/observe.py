"""The final look: every topic read afresh from its start, by an independent client, read_committed.

What it finds goes into the ledger as it is; `judge` compares. A partition is read to its high
watermark, so the look begins only when no transaction is open any more.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from chimera.schemas import headers as names
from chimera.topics.catalogue import Catalogue
from tests.integration.chaos.ledger import Ledger, digest

READ_WITHIN_S = 180.0
BATCH = 5_000
STORY = (
    names.ORIG_TOPIC,
    names.ORIG_PARTITION,
    names.ORIG_OFFSET,
    names.ORIG_TIMESTAMP,
    names.ATTEMPT,
    names.ERROR_CODE,
    names.ERROR_MESSAGE,
    names.FIRST_FAILURE,
)

Row = tuple[Any, ...]


def look(bootstrap: str, ledger: Ledger, catalogue: Catalogue) -> None:
    """Fill `present`, `results`, `letters` and `retries`.

    Raises:
        AssertionError: a topic could not be read to its end in time.
    """
    for table in ("present", "results", "letters", "retries"):
        ledger.rows(f"DELETE FROM {table}")
    requests, results = catalogue.requests.name, catalogue.results.name
    _copy(ledger, "present", records(bootstrap, [requests]), _present)
    _copy(ledger, "results", records(bootstrap, [results]), _result)
    _copy(ledger, "letters", records(bootstrap, [catalogue.dead_letters.name]), _letter)
    climbed = [topic.name for topic in catalogue.retries]
    _copy(ledger, "retries", records(bootstrap, climbed), _retry)


def records(
    bootstrap: str, topics: Sequence[str], isolation: str = "read_committed"
) -> Iterator[list[Message]]:
    """All records of topics, from their starts to where they ended when this was called."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "chaos-look",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "fetch.max.bytes": 20_000_000,
        }
    )
    until = time.monotonic() + READ_WITHIN_S
    try:
        metadata = consumer.list_topics(timeout=20)
        unread: set[tuple[str, int]] = set()
        starts: list[TopicPartition] = []
        ends: dict[tuple[str, int], int] = {}
        for topic in topics:
            for number in metadata.topics[topic].partitions:
                where = TopicPartition(topic, number)
                low, high = consumer.get_watermark_offsets(where, timeout=20)
                if high > low:
                    starts.append(TopicPartition(topic, number, low))
                    unread.add((topic, number))
                    ends[topic, number] = high
        consumer.assign(starts)
        while unread:
            if time.monotonic() > until:
                raise AssertionError(f"not read to the end in time: {sorted(unread)}")
            found: list[Message] = []
            for message in consumer.consume(BATCH, 1.0):
                where_, error = (message.topic() or "", message.partition() or 0), message.error()
                if error is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    if (message.offset() or 0) >= ends[where_]:
                        unread.discard(where_)
                else:
                    raise AssertionError(f"{where_}: {error}")
            yield found
    finally:
        consumer.close()


def _copy(
    ledger: Ledger,
    table: str,
    batches: Iterator[list[Message]],
    row: Callable[[Message], Row],
) -> None:
    for batch in batches:
        ledger.add(table, [row(message) for message in batch])


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    found: Any = message.headers()
    return list(found or [])


def _number(text: bytes | None) -> int:
    return int(text) if text is not None and text.isdigit() else -1


def _present(message: Message) -> Row:
    return message.topic(), message.partition(), message.offset(), message.timestamp()[1]


def _result(message: Message) -> Row:
    told = dict(_headers(message))
    code = (told.get(names.ERROR_CODE) or b"ok").decode()
    return (
        (told.get(names.REQUEST_TOPIC) or b"").decode(),
        _number(told.get(names.REQUEST_PARTITION)),
        _number(told.get(names.REQUEST_OFFSET)),
        code,
        _answer(message.value()) if code == "ok" else None,
        message.key(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
    )


def _answer(value: bytes | None) -> float | None:
    """The first number of the first output; None when there is none."""
    try:
        return float(np.ravel(orjson.loads(value or b"")["outputs"][0]["data"])[0])
    except (ValueError, LookupError, TypeError):
        return None


def _story(message: Message) -> tuple[dict[str, bytes | None], list[tuple[str, bytes | None]]]:
    """The last header of each of our names, and all the others: the original's."""
    headers = _headers(message)
    ours = {name: index for index, (name, _) in enumerate(headers) if _is_story(name)}
    kept = set(ours.values())
    original = [pair for index, pair in enumerate(headers) if index not in kept]
    return {name: headers[index][1] for name, index in ours.items()}, original


def _is_story(name: str) -> bool:
    return name in STORY or name == names.NOT_BEFORE or name.startswith("__connect.errors.")


def _origin(story: dict[str, bytes | None]) -> tuple[str, int, int]:
    return (
        (story.get(names.ORIG_TOPIC) or b"").decode(),
        _number(story.get(names.ORIG_PARTITION)),
        _number(story.get(names.ORIG_OFFSET)),
    )


def _letter(message: Message) -> Row:
    story, original = _story(message)
    code = (story.get(names.ERROR_CODE) or b"").decode()
    return (*_origin(story), code, digest(message.key(), message.value(), original))


def _retry(message: Message) -> Row:
    story, _ = _story(message)
    return (*_origin(story), message.topic(), message.timestamp()[1])
