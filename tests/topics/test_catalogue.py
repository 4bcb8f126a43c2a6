from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.batches import ENVELOPE_BYTES
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import Settings
from chimera.topics.catalogue import DAY_MS, FOREVER, catalogue, delay_name


def settings(**sections: dict[str, Any]) -> Settings:
    return Settings.model_validate(sections)


EXACT = {
    "inference.requests",
    "inference.requests.retry.5s",
    "inference.requests.retry.1m",
    "inference.requests.retry.10m",
    "inference.requests.dlq",
    "inference.results",
    "inference.attempts",
    "inference.journal",
    "models.commands",
    "models.events",
    "models.state",
    "models.observed",
    "training.triggers",
    "training.triggers.dlq",
    "training.events",
    "training.samples",
    "audit.events",
    "audit.log",
    "audit.checkpoints",
    "settings.state",
}


def test_catalogue_holds_each_topic_once() -> None:
    names = [topic.name for topic in catalogue(settings())]
    assert sorted(names) == sorted(EXACT)


def test_catalogue_prefix_stands_before_every_name() -> None:
    found = catalogue(settings(kafka={"topic_prefix": "eu-1."}))
    assert {topic.name for topic in found} == {f"eu-1.{name}" for name in EXACT}
    assert found.requests.dead_letters == "eu-1.inference.requests.dlq"


def test_catalogue_dead_letter_topics_are_themselves_in_it() -> None:
    found = catalogue(settings())
    named = {topic.dead_letters for topic in found if topic.dead_letters}
    assert named == {found.dead_letters.name, found.training_dead_letters.name}
    assert {topic.name for topic in found.inputs} == {
        topic.name for topic in found if topic.dead_letters == found.dead_letters.name
    }


def test_catalogue_topics_that_keep_partition_numbers_have_equal_counts() -> None:
    found = catalogue(settings(kafka={"partitions": 7}))
    assert {topic.partitions for topic in found.paired} == {7}
    assert len(found.paired) == 8
    assert found.audit_log.partitions == 1


def test_catalogue_sizes_leave_room_for_a_request_over_the_limit_and_for_its_story() -> None:
    found = catalogue(settings(serving={"max_request_bytes": 1000, "max_result_bytes": 500}))
    assert found.requests.max_message_bytes == 1000 + ENVELOPE_BYTES
    for topic in (*found.retries, found.dead_letters):
        assert topic.max_message_bytes == 1000 + 64 * 1024
    assert found.journal.max_message_bytes == 1 << 20  # however small requests are, rows are not
    assert found.results.max_message_bytes == 500 + 64 * 1024


def test_catalogue_every_topic_is_stamped_by_the_broker() -> None:
    for topic in catalogue(settings()):
        assert topic.config["message.timestamp.type"] == "LogAppendTime"


def test_catalogue_keeps_the_log_and_compacts_states() -> None:
    found = catalogue(settings())
    assert {topic.name for topic in found if topic.cleanup == "compact"} == {
        "inference.attempts",
        "models.state",
        "settings.state",
    }
    logs = (found.audit_events, found.audit_log, found.audit_checkpoints)
    for topic in (*logs, found.attempts, found.model_state):
        assert topic.config["retention.ms"] == str(FOREVER)


def test_catalogue_retry_topics_keep_records_longer_than_they_wait() -> None:
    delay = 30 * DAY_MS
    found = catalogue(settings(serving={"retry_delays_ms": [delay]}))
    assert found.retries[0].retention_ms >= delay + DAY_MS
    assert found.retries[0].delay_ms == delay


@pytest.mark.parametrize(("replication", "in_sync"), [(1, "1"), (2, "1"), (3, "2")])
def test_catalogue_asks_for_all_replicas_but_one(replication: int, in_sync: str) -> None:
    found = catalogue(settings(kafka={"replication": replication}))
    assert found.results.config["min.insync.replicas"] == in_sync
    assert found.results.replication == replication


@pytest.mark.parametrize("prefix", ["a b", "ü", "a/", "x" * 250])
def test_catalogue_prefix_that_makes_no_topic_name_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="TOPIC_PREFIX"):
        catalogue(settings(kafka={"topic_prefix": prefix}))


@pytest.mark.parametrize("delays", [[0], [-5], [2, 1], [1, 1]])
def test_catalogue_delays_out_of_order_are_refused(delays: list[int]) -> None:
    with pytest.raises(ConfigurationError, match="RETRY_DELAYS_MS"):
        catalogue(settings(serving={"retry_delays_ms": delays}))


def test_catalogue_without_delays_has_no_retry_topics() -> None:
    found = catalogue(settings(serving={"retry_delays_ms": []}))
    assert found.retries == ()
    assert found.inputs == (found.requests,)


@pytest.mark.parametrize(
    ("delay_ms", "name"),
    [
        (5_000, "5s"),
        (60_000, "1m"),
        (600_000, "10m"),
        (90_000, "90s"),
        (1_500, "1500ms"),
        (3_600_000, "1h"),
        (2 * DAY_MS, "2d"),
    ],
)
def test_delay_name_uses_the_largest_unit_that_divides(delay_ms: int, name: str) -> None:
    assert delay_name(delay_ms) == name


UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}


@given(st.integers(1, 10**12))
def test_delay_name_tells_the_delay(delay_ms: int) -> None:
    name = delay_name(delay_ms)
    digits = name.rstrip("dhms")
    assert int(digits) * UNITS[name.removeprefix(digits)] == delay_ms
