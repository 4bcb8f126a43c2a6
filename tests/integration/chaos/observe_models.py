"""The final look at models: which version each answer names, every state, every command's answer.

Read afresh and read_committed, as in `observe`; which version computed an answer is told by the answer
itself (`releases`).
"""

from typing import Any

import numpy as np
import orjson
from confluent_kafka import Message

from chimera.schemas import headers as names
from chimera.schemas.model_events import CommandAnswered, decode_event
from chimera.schemas.model_state import decode_state
from chimera.topics.catalogue import Catalogue
from tests.integration.chaos import turns
from tests.integration.chaos.ledger import Ledger
from tests.integration.chaos.observe import records

Row = tuple[Any, ...]


def look(bootstrap: str, ledger: Ledger, catalogue: Catalogue) -> None:
    """Fill `served`, `live` and `answers`."""
    for table in ("served", "live", "answers"):
        ledger.rows(f"DELETE FROM {table}")
    for batch in records(bootstrap, [catalogue.results.name]):
        ledger.add("served", [row for message in batch for row in _served(message)])
    states = [
        (state.revision, message.timestamp()[1], [one.sha256 for one in state.live])
        for batch in records(bootstrap, [catalogue.model_state.name])
        for message in batch
        for state in [decode_state(message.value() or b"")]
    ]
    ledger.add("live", turns.live(states))
    ledger.add("answers", answers(bootstrap, catalogue))


def answers(bootstrap: str, catalogue: Catalogue) -> list[tuple[str, str, str]]:
    """(command, outcome, why not) of all answers that are visible now."""
    events = [
        decode_event(message.value() or b"")
        for batch in records(bootstrap, [catalogue.model_events.name])
        for message in batch
    ]
    return [
        (one.command_id or "", one.outcome, one.error)
        for one in events
        if isinstance(one, CommandAnswered)
    ]


def latest(bootstrap: str, catalogue: Catalogue) -> dict[int, str]:
    """By partition: the digest that its last answer names."""
    found: dict[int, str] = {}
    for batch in records(bootstrap, [catalogue.results.name]):
        for message in batch:
            for row in _served(message):
                found[message.partition() or 0] = row[4]
    return found


def _served(message: Message) -> list[Row]:
    """None of an error, which no version has made."""
    headers: list[tuple[str, bytes | None]] = list(message.headers() or [])  # type: ignore[arg-type]
    told = dict(headers)
    if told.get(names.ERROR_CODE) is not None:
        return []
    digests = [(value or b"").decode() for name, value in headers if name == names.MODEL_DIGEST]
    return [
        (
            (told.get(names.REQUEST_TOPIC) or b"").decode(),
            int(told.get(names.REQUEST_PARTITION) or -1),
            int(told.get(names.REQUEST_OFFSET) or -1),
            len(digests),
            digests[0] if digests else "",
            _computed_by(message.value()),
            message.timestamp()[1],
        )
    ]


def _computed_by(value: bytes | None) -> str:
    """The version that left its number in an answer, if it is also the one that the answer names."""
    try:
        answer = orjson.loads(value or b"")
        number = int(np.ravel(answer["outputs"][0]["data"])[1])
        return str(number) if answer["model_version"] == str(number) else ""
    except (ValueError, LookupError, TypeError):
        return ""
