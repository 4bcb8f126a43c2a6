from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.settings import Settings
from chimera.topics.catalogue import Catalogue, catalogue
from chimera.topics.differences import NO_TOPIC, Difference, Found, differences

TOPICS = catalogue(Settings.model_validate({"kafka": {"partitions": 4, "replication": 2}}))


def as_wanted(topics: Catalogue = TOPICS) -> dict[str, Found]:
    """A broker whose topics are what the catalogue says."""
    return {
        topic.name: Found("id", topic.partitions, topic.replication, dict(topic.config))
        for topic in topics
    }


def with_config(name: str, **config: str) -> dict[str, Found]:
    found = as_wanted()
    entries = {key.replace("_", "."): value for key, value in config.items()}
    found[name] = replace(found[name], config={**found[name].config, **entries})
    return found


def with_partitions(counts: dict[str, int]) -> dict[str, Found]:
    found = as_wanted()
    return found | {name: replace(found[name], partitions=n) for name, n in counts.items()}


def test_differences_of_an_equal_broker_are_none() -> None:
    assert differences(TOPICS, as_wanted()) == []


def test_differences_of_an_empty_broker_create_every_topic() -> None:
    found = differences(TOPICS, {})
    assert [one.topic for one in found] == list(TOPICS)
    assert {one.remedy for one in found} == {"create"}
    assert {one.found for one in found} == {NO_TOPIC}
    assert [int(one.wanted) for one in found] == [topic.partitions for topic in TOPICS]


def test_differences_missing_partitions_are_added() -> None:
    found = differences(TOPICS, with_partitions({"inference.results": 1}))
    assert found == [Difference(TOPICS.results, "partitions", "4", "1", "add partitions")]


def test_differences_surplus_partitions_of_a_lone_topic_are_only_reported() -> None:
    (found,) = differences(TOPICS, with_partitions({"audit.log": 3}))
    assert (found.topic, found.wanted, found.found) == (TOPICS.audit_log, "1", "3")
    assert found.remedy is None
    assert found.advice


def test_differences_added_request_partitions_are_wanted_of_every_paired_topic() -> None:
    found = differences(TOPICS, with_partitions({"inference.requests": 6}))
    added = {one.topic.name: one.wanted for one in found if one.remedy == "add partitions"}
    others = {topic.name for topic in TOPICS.paired} - {"inference.requests"}
    assert added == dict.fromkeys(others, "6")
    reported = [one for one in found if one.remedy is None]
    assert [one.topic for one in reported] == [t for t in TOPICS if t in TOPICS.paired]
    assert all("CHIMERA_KAFKA__PARTITIONS=6" in one.advice for one in reported)


def test_differences_a_missing_paired_topic_is_created_with_the_count_of_the_others() -> None:
    existing = with_partitions({topic.name: 6 for topic in TOPICS.paired})
    del existing["inference.results"]
    found = {one.topic.name: one for one in differences(TOPICS, existing)}
    assert found["inference.results"].remedy == "create"
    assert found["inference.results"].wanted == "6"


@given(st.dictionaries(st.sampled_from([t.name for t in TOPICS]), st.integers(1, 9), max_size=17))
def test_differences_once_applied_leave_nothing_to_apply(counts: dict[str, int]) -> None:
    broker = {name: found for name, found in with_partitions(counts).items() if name in counts}
    for one in differences(TOPICS, broker):
        if one.remedy == "create":
            config = dict(one.topic.config)
            broker[one.topic.name] = Found("id", int(one.wanted), one.topic.replication, config)
        elif one.remedy == "add partitions":
            assert int(one.wanted) > broker[one.topic.name].partitions
            broker[one.topic.name] = replace(broker[one.topic.name], partitions=int(one.wanted))
    assert not [one for one in differences(TOPICS, broker) if one.remedy]
    assert len({broker[topic.name].partitions for topic in TOPICS.paired}) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max.message.bytes", "1048588"),
        ("message.timestamp.type", "CreateTime"),
        ("min.insync.replicas", "2"),
        ("retention.ms", "1000"),
    ],
)
def test_differences_configuration_is_set(name: str, value: str) -> None:
    (found,) = differences(TOPICS, with_config("inference.requests", **{name: value}))
    assert (found.what, found.found, found.remedy) == (name, value, "configure")
    assert found.wanted == TOPICS.requests.config[name]


def test_differences_configuration_that_is_unset_is_set() -> None:
    existing = as_wanted()
    existing["audit.log"] = replace(existing["audit.log"], config={})
    found = {one.what: one for one in differences(TOPICS, existing)}
    assert set(found) == set(TOPICS.audit_log.config)
    assert found["retention.ms"].found == "unset"


@pytest.mark.parametrize("value", ["-1", "604800001"])
def test_differences_longer_retention_is_left_to_the_operator(value: str) -> None:
    assert differences(TOPICS, with_config("inference.requests", retention_ms=value)) == []


def test_differences_of_a_log_that_is_to_be_kept_forever_are_set() -> None:
    (found,) = differences(TOPICS, with_config("audit.log", retention_ms="604800000"))
    assert (found.wanted, found.remedy) == ("-1", "configure")


def test_differences_of_the_clean_up_policy_are_only_reported() -> None:
    (found,) = differences(TOPICS, with_config("inference.attempts", cleanup_policy="delete"))
    assert (found.what, found.wanted, found.remedy) == ("cleanup.policy", "compact", None)


def test_differences_fewer_replicas_are_only_reported() -> None:
    existing = as_wanted()
    existing["inference.results"] = replace(existing["inference.results"], replication=1)
    (found,) = differences(TOPICS, existing)
    assert (found.what, found.wanted, found.found, found.remedy) == ("replicas", "2", "1", None)


def test_difference_in_words_names_topic_property_both_values_and_what_to_do() -> None:
    (found,) = differences(TOPICS, with_config("inference.attempts", cleanup_policy="delete"))
    for part in ("inference.attempts", "cleanup.policy", "delete", "compact", "kafka-configs.sh"):
        assert part in str(found)
