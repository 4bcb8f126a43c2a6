"""What a record on each topic looks like: payload and headers as JSON Schema, for `asyncapi`.

Requests and results are the Open Inference Protocol's (`inference_rest.md`), written out here
because their decoders read them without a struct to derive this from; records of Chimera's own
come from their msgspec structs. Topics that nothing writes yet say so instead of promising a form.
`tests/topics/test_messages.py` holds valid requests of the conformance vectors to these schemas.
"""

import inspect
from dataclasses import dataclass, field
from typing import Any

import msgspec

from chimera.schemas import claims
from chimera.schemas import headers as names
from chimera.schemas.effective_settings import SettingsInForce
from chimera.schemas.errors import BY_CODE
from chimera.schemas.internal import Attempt
from chimera.schemas.model_commands import COMMANDS
from chimera.schemas.model_events import EVENTS
from chimera.schemas.model_observed import ModelObserved
from chimera.schemas.model_state import ModelState
from chimera.schemas.tensors import DATATYPES
from chimera.schemas.training_events import EVENTS as TRAINED
from chimera.schemas.training_sample import TrainingSample
from chimera.schemas.training_triggers import TRIGGERS
from chimera.schemas.transparency import leaves as audit
from chimera.schemas.transparency import log_records
from chimera.topics.dead_letters import CONNECT, VALUE_BYTES, VALUE_SHA256

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One kind of record; header descriptions by name, `required` of them always there."""

    name: str
    summary: str
    content_type: str = "application/json"
    payload: Schema | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    required: tuple[str, ...] = ()


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(
    properties: dict[str, Schema], required: tuple[str, ...], description: str = ""
) -> Schema:
    found: Schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"description": description, **found} if description else found


def _generated(structs: tuple[Any, ...]) -> dict[str, Schema]:
    """By name; texts are docstrings, which only Python 3.13 and later strip of their indentation."""
    template = "#/components/schemas/{name}"
    found = msgspec.json.schema_components(structs, ref_template=template)[1]
    for schema in found.values():
        if text := schema.get("description"):
            schema["description"] = inspect.cleandoc(text)
    return found


_TEXT: Schema = {"type": "string"}
_PARAMETERS = _reference("Parameters")
_CLAIM = f"{claims.URL}, {claims.SHA256} and {claims.SIZE} name data that rest elsewhere"

SCHEMAS: dict[str, Schema] = {
    "Parameters": {
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    },
    "Datatype": {"type": "string", "enum": sorted(DATATYPES)},
    "Shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    "RequestInput": _object(
        {
            "name": _TEXT,
            "shape": _reference("Shape"),
            "datatype": _reference("Datatype"),
            "data": {"type": "array", "description": "flat or nested, row-major"},
            "parameters": _PARAMETERS,
        },
        ("name", "shape", "datatype"),
        f"carries data, or binary_data_size (raw bytes follow the JSON), or a claim: {_CLAIM}",
    ),
    "RequestOutput": _object(
        {"name": _TEXT, "parameters": _PARAMETERS},
        ("name",),
        "an output that is wanted; binary_data true: as raw bytes",
    ),
    "InferenceRequest": _object(
        {
            "model_name": {**_TEXT, "description": f"here or in the header {names.MODEL}"},
            "model_version": _TEXT,
            "id": {**_TEXT, "description": "the caller's own name for it; comes back"},
            "parameters": _PARAMETERS,
            "inputs": {"type": "array", "items": _reference("RequestInput"), "minItems": 1},
            "outputs": {"type": "array", "items": _reference("RequestOutput")},
        },
        ("inputs",),
    ),
    "ResponseOutput": _object(
        {
            "name": _TEXT,
            "shape": _reference("Shape"),
            "datatype": _reference("Datatype"),
            "data": {"type": "array", "description": "flat, row-major"},
            "parameters": _PARAMETERS,
        },
        ("name", "shape", "datatype"),
    ),
    "InferenceResponse": _object(
        {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": {
                **_TEXT,
                "description": "the request's; it had none: <topic>:<partition>:<offset>",
            },
            "parameters": _PARAMETERS,
            "outputs": {"type": "array", "items": _reference("ResponseOutput")},
        },
        ("model_name", "id", "outputs"),
    ),
    "ErrorOutcome": _object(
        {
            "model_name": {**_TEXT, "description": "as far as the request told"},
            "id": _TEXT,
            "error": {**_TEXT, "description": "for people"},
            "parameters": _object({"code": _reference("ErrorCode")}, ("code",)),
        },
        ("model_name", "id", "error", "parameters"),
    ),
    "ErrorCode": {"type": "string", "enum": list(BY_CODE)},
    **_generated(
        (
            Attempt,
            *COMMANDS,
            *EVENTS,
            ModelState,
            ModelObserved,
            *audit.LEAVES,
            *TRIGGERS,
            *TRAINED,
            TrainingSample,
            SettingsInForce,
        ),
    ),
}

_REQUEST = {
    names.CONTENT_TYPE: "application/json, or application/octet-stream with raw tensors",
    names.HEAD_LENGTH: "bytes of the JSON head; what follows are raw tensors, little-endian",
    names.MODEL: "the model, for a body that does not name it; where both do, they agree",
    names.MODEL_VERSION: "its version, likewise",
    names.TENANT: "whom the request belongs to",
    names.DEADLINE: "ms since the epoch; past it the answer is deadline_exceeded",
    names.PRIORITY: "0 default, 1 highest; for models whose ordering is none: orders what an executor"
    " holds, some hundred requests of a lane, and a result is visible after those before it",
    names.GENERATION: "of a redriven request",
    names.REPLAY_OF: "the request that this one repeats: <topic>:<partition>:<offset>",
    names.TRACEPARENT: "W3C trace context",
    names.CE_SPECVERSION: "CloudEvents, binary mode; as all ce_ headers",
    names.CE_TYPE: "the caller's",
    names.CE_SOURCE: "the caller's",
    names.CE_ID: "the caller's; a result has its own",
    names.CE_TIME: "RFC 3339",
}
_OUTCOME = {
    names.CONTENT_TYPE: "as of a request",
    names.REQUEST_TOPIC: "the request's coordinates: its topic",
    names.REQUEST_PARTITION: "its partition",
    names.REQUEST_OFFSET: "its offset",
    names.CE_SPECVERSION: "1.0",
    names.CE_SOURCE: "what answered",
    names.CE_ID: "derived from the request's coordinates and generation: repeats have the same",
    names.TRACEPARENT: "the request's",
}
_OUTCOME_REQUIRED = tuple(name for name in _OUTCOME if name != names.TRACEPARENT)
_STORY = {
    names.ORIG_TOPIC: "the request's coordinates: its topic",
    names.ORIG_PARTITION: "its partition",
    names.ORIG_OFFSET: "its offset",
    names.ORIG_TIMESTAMP: "when the broker appended it, ms since the epoch",
    names.ATTEMPT: "attempts so far",
    names.ERROR_CODE: "of the latest failure: " + ", ".join(BY_CODE),
    names.ERROR_MESSAGE: "of the latest failure",
    names.FIRST_FAILURE: "ms since the epoch",
}
_BYTES: Schema = {"type": "string", "format": "binary"}

REQUEST = Message(
    name="InferenceRequest",
    summary="a request, all JSON; no header is needed",
    payload=_reference("InferenceRequest"),
    headers={name: text for name, text in _REQUEST.items() if name != names.HEAD_LENGTH},
)
BINARY_REQUEST = Message(
    name="BinaryInferenceRequest",
    summary="a request whose tensors follow its JSON head as raw bytes",
    content_type="application/octet-stream",
    payload=_BYTES,
    headers=_REQUEST,
    required=(names.HEAD_LENGTH,),
)
WAITING = Message(
    name="WaitingRequest",
    summary="a request that waits for another try: original key, value and headers, and the story",
    content_type="application/octet-stream",
    payload=_BYTES,
    headers=_STORY | {names.NOT_BEFORE: "ms since the epoch: not to be tried earlier"},
    required=(*_STORY, names.NOT_BEFORE),
)
DEAD_LETTER = Message(
    name="DeadLetter",
    summary="a request that failed: original key, value and headers, and the story",
    content_type="application/octet-stream",
    payload=_BYTES,
    headers=_STORY
    | {
        f"{CONNECT}*": "the same as Kafka Connect names it",
        VALUE_BYTES: "size of a value that was too large to copy and was left out; null where its"
        " batch was too large to unpack",
        VALUE_SHA256: "its SHA-256, hexadecimal; null as that",
    },
    required=tuple(_STORY),
)
RESPONSE = Message(
    name="InferenceResponse",
    summary="the model's answer",
    payload=_reference("InferenceResponse"),
    headers=_OUTCOME
    | {
        names.CE_TYPE: names.RESULT_TYPE,
        names.HEAD_LENGTH: "as of a request, where raw outputs were asked for",
        names.MODEL_DIGEST: "SHA-256 of the model that answered",
        names.TIER: "which compiled form of it",
        names.BATCH_SIZE: "rows computed together",
        names.QUEUE_US: "microseconds from the lane to the computation",
        names.COMPUTE_US: "microseconds of the computation",
        names.TOTAL_US: "microseconds from the lane to this record",
    },
    required=(*_OUTCOME_REQUIRED, names.CE_TYPE, names.MODEL_DIGEST),
)
ERROR = Message(
    name="ErrorOutcome",
    summary="why there is no answer",
    payload=_reference("ErrorOutcome"),
    headers=_OUTCOME | {names.CE_TYPE: names.ERROR_TYPE, names.ERROR_CODE: "of a closed set"},
    required=(*_OUTCOME_REQUIRED, names.CE_TYPE, names.ERROR_CODE),
)
ATTEMPT = Message(
    name="Attempt",
    summary="how many executors a request has killed; a null value: it is decided",
    payload=_reference("Attempt"),
)

SEGMENT = Message(
    name="JournalSegment",
    summary="one committed window: a columnar segment, as `schemas/journal.py` has it",
    content_type="application/octet-stream",
    payload=_BYTES,
)


def _record(kind: type[msgspec.Struct], summary: str = "") -> Message:
    """A record of a struct of ours, by the struct's own name and first line."""
    name = kind.__name__
    return Message(
        name=name,
        summary=summary or SCHEMAS[name]["description"].rstrip("."),
        payload=_reference(name),
    )


MODEL_COMMANDS = tuple(_record(kind) for kind in COMMANDS)
MODEL_EVENTS = tuple(_record(kind) for kind in EVENTS)
MODEL_STATE = _record(ModelState, "which versions serve now; a null value: the model is gone")
MODEL_OBSERVED = _record(ModelObserved)
TRAINING_TRIGGERS = tuple(_record(kind) for kind in TRIGGERS)
TRAINING_EVENTS = tuple(_record(kind) for kind in TRAINED)
REFUSED_TRIGGER = Message(
    name="RefusedTrigger",
    summary="a trigger that was refused: original key, value and headers, and the story",
    content_type="application/octet-stream",
    payload=_BYTES,
    headers=DEAD_LETTER.headers,
    required=tuple(_STORY),
)
_PLACE = {
    log_records.LOG_INDEX: "the leaf's place in the log, decimal",
    log_records.COMPACT_RANGE: "last of a transaction: the tree's size, 8 bytes, and its hashes",
    log_records.COVERED: "last of a transaction: which offsets of each lane have leaves, JSON",
    log_records.READ: "last of a transaction: how far each input was read, JSON",
}
LEAVES = tuple(
    Message(
        name=kind.__name__,
        summary=SCHEMAS[kind.__name__]["description"].rstrip("."),
        payload=_reference(kind.__name__),
        headers=_PLACE,
        required=(log_records.LOG_INDEX,),
    )
    for kind in audit.LEAVES
)
ACTION = Message(
    name="AuditEvent",
    summary="an action, as it becomes a leaf; its JSON need not be canonical yet",
    payload=_reference(audit.ActionTaken.__name__),
)
CHECKPOINT = Message(
    name="Checkpoint",
    summary="a tree head as a signed note: C2SP tlog-checkpoint",
    content_type="text/plain",
    payload=_TEXT,
)
TRAINING_SAMPLE = _record(TrainingSample, "what was right, told afterwards")
SETTINGS_STATE = _record(SettingsInForce)
RESERVED = Message(
    name="Reserved", summary="nothing is written here yet", content_type="application/octet-stream"
)
