import json
import re
from pathlib import Path
from typing import Any

import jsonschema

from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.settings import Settings
from chimera.topics import asyncapi
from chimera.topics.catalogue import catalogue
from chimera.topics.messages import RESERVED

PUBLISHED = json.loads(Path(__file__).with_name("data").joinpath("asyncapi-3.0.0.json").read_text())
COMMITTED = Path(__file__).parents[2] / "docs" / "asyncapi.json"
DEFAULTS = Settings.model_construct()
TOPICS = catalogue(DEFAULTS)


def errors(document: dict[str, Any]) -> list[str]:
    validator: Any = jsonschema.Draft7Validator(PUBLISHED)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def resolved(document: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def test_document_is_valid_by_the_published_schema() -> None:
    assert errors(asyncapi.document(TOPICS)) == []


def test_document_with_a_field_that_the_binding_does_not_define_is_invalid() -> None:
    document = json.loads(asyncapi.encode(TOPICS))
    document["channels"]["inference.requests"]["bindings"]["kafka"]["replication"] = 1
    assert errors(document)


def test_document_channels_are_exactly_the_catalogue() -> None:
    channels = asyncapi.document(TOPICS)["channels"]
    assert set(channels) == {topic.name for topic in TOPICS}
    for topic in TOPICS:
        kafka = channels[topic.name]["bindings"]["kafka"]
        assert channels[topic.name]["address"] == kafka["topic"] == topic.name
        assert (kafka["partitions"], kafka["replicas"]) == (topic.partitions, topic.replication)
        assert kafka["topicConfiguration"] == {
            "cleanup.policy": [topic.cleanup],
            "retention.ms": topic.retention_ms,
            "max.message.bytes": topic.max_message_bytes,
        }


def test_document_has_no_loose_references() -> None:
    document = asyncapi.document(TOPICS)
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))
    assert len(references) > 50
    for reference in references:
        assert resolved(document, reference)


def test_document_topics_not_in_use_promise_no_form() -> None:
    channels = asyncapi.document(TOPICS)["channels"]
    reserved = {name for name, it in channels.items() if RESERVED.name in it["messages"]}
    assert reserved == {topic.name for topic in TOPICS if not topic.in_use}


def test_document_operations_use_only_topics_in_use() -> None:
    operations = asyncapi.document(TOPICS)["operations"]
    used = {it["channel"]["$ref"].removeprefix("#/channels/") for it in operations.values()}
    assert used == {topic.name for topic in TOPICS if topic.in_use}


def test_document_follows_prefix_and_delays() -> None:
    kafka = KafkaSettings(topic_prefix="eu.")
    serving = DEFAULTS.serving.model_copy(update={"retry_delays_ms": (1_000,)})
    topics = catalogue(Settings.model_construct(kafka=kafka, serving=serving))
    document = asyncapi.document(topics)
    assert errors(document) == []
    assert "eu.inference.requests.retry.1s" in document["channels"]


def test_document_committed_is_the_generated_one() -> None:
    assert COMMITTED.read_text() == asyncapi.encode(TOPICS), (
        "run `chimera topics asyncapi > docs/asyncapi.json`"
    )
