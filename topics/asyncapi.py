"""The AsyncAPI 3.0 document of a deployment, made from the topic catalogue.

Kafka bindings 0.5.0, with only the fields that they define. Channels are the catalogue, neither
more nor less; operations are seen from Chimera: it receives requests and sends results.
`docs/asyncapi.json` is the document of the default settings; `tests/topics/test_asyncapi.py` checks
it against the published JSON Schema and against this module.
"""

import json
from typing import Any

from chimera.topics import messages
from chimera.topics.catalogue import Catalogue, Topic
from chimera.topics.messages import Message

Json = dict[str, Any]

ASYNCAPI = "3.0.0"
BINDINGS = "0.5.0"
INTERFACE = "1.0.0"  # of what stands in the document, not of the software


def document(catalogue: Catalogue) -> Json:
    """The document as plain data."""
    carried = _carried(catalogue)
    used = {message.name: message for found in carried.values() for message in found}
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Chimera",
            "version": INTERFACE,
            "description": "Inference over Kafka: each request gets one visible outcome, in order.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic, carried[topic.name]) for topic in catalogue},
        "operations": _operations(catalogue, carried),
        "components": {
            "messages": {name: _message(message) for name, message in used.items()},
            "schemas": messages.SCHEMAS,
        },
    }


def encode(catalogue: Catalogue) -> str:
    """The document as JSON text, stable for stable input."""
    return json.dumps(document(catalogue), indent=2, ensure_ascii=False) + "\n"


def _carried(catalogue: Catalogue) -> dict[str, tuple[Message, ...]]:
    """Which messages each topic carries, by its name."""
    known = {
        catalogue.requests.name: (messages.REQUEST, messages.BINARY_REQUEST),
        **{topic.name: (messages.WAITING,) for topic in catalogue.retries},
        catalogue.dead_letters.name: (messages.DEAD_LETTER,),
        catalogue.results.name: (messages.RESPONSE, messages.ERROR),
        catalogue.attempts.name: (messages.ATTEMPT,),
        catalogue.journal.name: (messages.SEGMENT,),
        catalogue.model_commands.name: messages.MODEL_COMMANDS,
        catalogue.model_events.name: messages.MODEL_EVENTS,
        catalogue.model_state.name: (messages.MODEL_STATE,),
        catalogue.model_observed.name: (messages.MODEL_OBSERVED,),
        catalogue.training_triggers.name: messages.TRAINING_TRIGGERS,
        catalogue.training_dead_letters.name: (messages.REFUSED_TRIGGER,),
        catalogue.training_events.name: messages.TRAINING_EVENTS,
        catalogue.audit_events.name: (messages.ACTION,),
        catalogue.audit_log.name: messages.LEAVES,
        catalogue.audit_checkpoints.name: (messages.CHECKPOINT,),
        catalogue.training_samples.name: (messages.TRAINING_SAMPLE,),
        catalogue.settings_state.name: (messages.SETTINGS_STATE,),
    }
    return {topic.name: known.get(topic.name, (messages.RESERVED,)) for topic in catalogue}


def _channel(topic: Topic, carried: tuple[Message, ...]) -> Json:
    return {
        "address": topic.name,
        "description": f"{topic.record}; key: {topic.key}",
        "messages": {
            message.name: {"$ref": f"#/components/messages/{message.name}"} for message in carried
        },
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "replicas": topic.replication,
                "topicConfiguration": {
                    "cleanup.policy": [topic.cleanup],
                    "retention.ms": topic.retention_ms,
                    "max.message.bytes": topic.max_message_bytes,
                },
                "bindingVersion": BINDINGS,
            }
        },
    }


def _message(message: Message) -> Json:
    headers: Json = {
        name: {"type": "string", "description": text} for name, text in message.headers.items()
    }
    found: Json = {
        "name": message.name,
        "summary": message.summary,
        "contentType": message.content_type,
        "bindings": {
            "kafka": {
                "key": {
                    "type": ["string", "null"],
                    "description": "any bytes; the channel says which",
                },
                "bindingVersion": BINDINGS,
            }
        },
    }
    if headers:
        required = list(message.required)
        found["headers"] = {"type": "object", "properties": headers, "required": required}
    if message.payload is not None:
        found["payload"] = message.payload
    return found


def _operations(catalogue: Catalogue, carried: dict[str, tuple[Message, ...]]) -> Json:
    def operation(action: str, topic: Topic, summary: str, reply: Json | None = None) -> Json:
        found: Json = {
            "action": action,
            "channel": _channel_of(topic),
            "summary": summary,
            "messages": [_in_channel(topic, message) for message in carried[topic.name]],
        }
        return found | ({"reply": reply} if reply else {})

    answer = _reply(catalogue.results, carried[catalogue.results.name])
    event = _reply(catalogue.model_events, carried[catalogue.model_events.name][:1])
    commands, state = catalogue.model_commands, catalogue.model_state
    samples = catalogue.training_samples
    observed, training = catalogue.model_observed, catalogue.training_events
    answered = _reply(training, carried[training.name][:1])
    found = {
        "receiveTrainingSample": operation("receive", samples, "train on what was served"),
        "receiveRequest": operation("receive", catalogue.requests, "answer a request", answer),
        "receiveModelCommand": operation("receive", commands, "do what an operator wants", event),
        "receiveModelState": operation("receive", state, "serve what it says"),
        "receiveModelObserved": operation("receive", observed, "judge versions under watch"),
        "receiveTrigger": operation(
            "receive", catalogue.training_triggers, "train, cancel, resume, policies", answered
        ),
        "receiveJournalSegment": operation("receive", catalogue.journal, "make leaves, and rows"),
        "receiveAuditEvent": operation("receive", catalogue.audit_events, "make it a leaf"),
    }
    sent = {
        "sendResult": (catalogue.results, "the outcome, to the partition of the request's number"),
        "sendDeadLetter": (catalogue.dead_letters, "a copy for operators, beside the outcome"),
        "sendAttempt": (catalogue.attempts, "before a suspect request is computed again"),
        "sendJournalSegment": (catalogue.journal, "what became of each request of a window"),
        "sendModelEvent": (catalogue.model_events, "what happened to a model"),
        "sendModelState": (state, "which versions serve from now on"),
        "sendModelObserved": (observed, "what versions did on this node"),
        "sendTrainingEvent": (training, "what became of triggers, and what runs do"),
        "sendRefusedTrigger": (catalogue.training_dead_letters, "a copy for operators"),
        "sendLeaf": (catalogue.audit_log, "the log, in sequence"),
        "sendCheckpoint": (catalogue.audit_checkpoints, "its head, signed"),
        "sendAuditEvent": (catalogue.audit_events, "what was done to what serves"),
        "sendSettings": (catalogue.settings_state, "what a process began with, if it was new"),
    }
    found |= {name: operation("send", topic, text) for name, (topic, text) in sent.items()}
    for topic in catalogue.retries:
        name = topic.name.rpartition(".")[2]
        found[f"sendRetry.{name}"] = operation("send", topic, "put off a request")
        found[f"receiveRetry.{name}"] = operation("receive", topic, "try it again when it is due")
    return found


def _reply(topic: Topic, carried: tuple[Message, ...]) -> Json:
    return {
        "channel": _channel_of(topic),
        "messages": [_in_channel(topic, message) for message in carried],
    }


def _channel_of(topic: Topic) -> Json:
    return {"$ref": f"#/channels/{topic.name}"}


def _in_channel(topic: Topic, message: Message) -> Json:
    return {"$ref": f"#/channels/{topic.name}/messages/{message.name}"}
