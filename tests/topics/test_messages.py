"""The documented forms are those that are read and written."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aiokafka.record.memory_records import MemoryRecords

from chimera.agents.lanes import outcomes
from chimera.schemas import inference, internal
from chimera.schemas.batches import encode
from chimera.schemas.errors import BY_CODE, RequestError
from chimera.topics import messages
from chimera.topics.dead_letters import Copy, Failure, Origin, Story, dead_letter, retry
from chimera.topics.messages import Message, Schema

TENSOR: dict[str, Any] = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.5]}
REQUEST: dict[str, Any] = {"model_name": "digits", "inputs": [TENSOR]}
ORIGIN = Origin("inference.requests", 3, 42, 1_763_717_416_000)
FAILURE = Failure("model_error", "it raised", 2, 1_763_717_416_123)


def conforms(schema: Schema | None, instance: Any) -> bool:
    validator: Any = jsonschema.Draft7Validator(
        {"allOf": [schema], "components": {"schemas": messages.SCHEMAS}}
    )
    return bool(validator.is_valid(instance))


def undocumented(message: Message, headers: list[tuple[str, bytes | None]]) -> set[str]:
    """Required headers that are not there, and headers of ours that no documentation names."""
    found = {name for name, _ in headers}
    families = tuple(name[:-1] for name in message.headers if name.endswith("*"))
    unknown = {name for name in found - set(message.headers) if not name.startswith(families)}
    return (set(message.required) - found) | unknown


def read_tail(tail: bytes) -> tuple[bytes, list[tuple[str, bytes | None]]]:
    sent = encode([None], [tail]).sent_by(1, 1, 0, transactional=False)
    batch = MemoryRecords(sent).next_batch()
    assert batch is not None
    (record,) = batch
    assert record.value is not None
    return record.value, list(record.headers)


def test_schemas_are_json_schema() -> None:
    for schema in messages.SCHEMAS.values():
        jsonschema.Draft7Validator.check_schema(schema)


@pytest.mark.parametrize(
    "body",
    [
        REQUEST,
        {"model_name": "m", "inputs": [{**TENSOR, "shape": [2, 1], "data": [[1], [2]]}]},
        {**REQUEST, "id": "a", "parameters": {"binary_data_output": True, "priority": 1}},
        {**REQUEST, "outputs": [{"name": "y", "parameters": {"binary_data": False}}]},
        {"model_name": "m", "inputs": [{**TENSOR, "datatype": "BYTES", "data": ["a", "b"]}]},
        {**REQUEST, "unknown": {"fields": ["are", "ignored"]}},
    ],
)
def test_request_that_is_served_conforms(body: dict[str, Any]) -> None:
    inference.decode(json.dumps(body).encode())
    assert conforms(messages.REQUEST.payload, body)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"model_name": "m"},
        {"model_name": "m", "inputs": []},
        {"model_name": 1, "inputs": [TENSOR]},
        {"model_name": "m", "inputs": [{**TENSOR, "datatype": "FP8"}]},
        {"model_name": "m", "inputs": [{**TENSOR, "shape": [-2]}]},
        {"model_name": "m", "inputs": [{**TENSOR, "data": 3}]},
        {"model_name": "m", "inputs": [{"shape": [2], "datatype": "FP32", "data": [1, 2]}]},
        {**REQUEST, "id": 7},
        {**REQUEST, "parameters": {"a": [1]}},
        {**REQUEST, "outputs": [{}]},
    ],
)
def test_request_whose_form_does_not_conform_is_refused(body: Any) -> None:
    assert not conforms(messages.REQUEST.payload, body)
    with pytest.raises(RequestError):
        inference.decode(json.dumps(body).encode())


@pytest.mark.parametrize("code", BY_CODE)
def test_error_outcome_as_it_is_written_conforms(code: str) -> None:
    case = outcomes.Case(ORIGIN, [("traceparent", b"00-x")])
    value, headers = read_tail(outcomes.error_tail(outcomes.Error(code, "why", case)))
    assert conforms(messages.ERROR.payload, json.loads(value))
    assert undocumented(messages.ERROR, headers) == set()


def test_attempt_as_it_is_written_conforms() -> None:
    written = internal.encode_attempt(internal.Attempt(2, "crashed"))
    assert conforms(messages.ATTEMPT.payload, json.loads(written))
    assert not conforms(messages.ATTEMPT.payload, {"deaths": 0, "reason": "crashed"})


def test_stories_as_they_are_written_are_documented() -> None:
    original = Copy(None, bytes(3_000), [])
    waiting = retry(original, Story(ORIGIN, FAILURE, 1))
    assert undocumented(messages.WAITING, waiting.headers) == set()
    for limit_bytes in (9_000, 2_000):
        letter = dead_letter(original, ORIGIN, FAILURE, limit_bytes)
        assert undocumented(messages.DEAD_LETTER, letter.headers) == set()


def test_records_of_models_as_they_are_written_conform() -> None:
    golden = Path(__file__).parents[1] / "schemas" / "golden"
    kinds = (
        ("model_commands_v1", "action", messages.MODEL_COMMANDS),
        ("model_events_v1", "event", messages.MODEL_EVENTS),
        ("model_state_v1", "", (messages.MODEL_STATE,)),
    )
    for name, tag, carried in kinds:
        for line in (golden / f"{name}.jsonl").read_bytes().splitlines():
            record = json.loads(line)
            assert sum(conforms(message.payload, record) for message in carried) == 1
            record[tag or "tenant"] = "no such thing"
            assert not any(conforms(message.payload, record) for message in carried)
