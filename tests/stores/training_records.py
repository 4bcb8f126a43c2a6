"""Records of `training.events`, and some that are none."""

import json

from chimera.stores.source import Record

AT_MS = 1_767_225_600_000
_RUN = {"run_id": "run-1", "tenant": "acme", "model": "digits", "source": "agent:1", "v": 1}
VALUES = [
    json.dumps({"event": "queued", "event_id": "e-1", "at_ms": AT_MS + 1, **_RUN}).encode(),
    json.dumps(
        {
            "event": "progress",
            "event_id": "e-2",
            "at_ms": AT_MS + 2,
            "step": 40,
            "loss": 0.25,
            **_RUN,
        }
    ).encode(),
    json.dumps({"event": "finished", "event_id": "e-3", "at_ms": AT_MS + 3, **_RUN}).encode(),
    b'{"event": 7, "run_id": [], "at_ms": -1}',
    b"[]",
    b"\xff",
]


def training_record(partition: int, number: int) -> Record:
    return Record(partition, number, AT_MS, VALUES[number])
