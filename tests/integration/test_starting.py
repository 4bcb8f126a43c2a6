"""Starts on a real broker: new settings are told once for each role and host, with their names."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from chimera.agents import starting
from chimera.cli.stack.ports import free_port
from chimera.schemas.audit_settings import AuditSettings
from chimera.schemas.control_actions import SETTINGS_CHANGED
from chimera.schemas.errors import ConfigurationError, KafkaUnavailable
from chimera.schemas.history_settings import ClickHouseSettings
from chimera.schemas.model_settings import KeysSettings
from chimera.schemas.settings import Settings
from chimera.schemas.signing import new_key
from chimera.stores.keys import write_key
from chimera.topics.catalogue import catalogue
from tests.cli.letters import actions, read, settings_of
from tests.cli.places import make_topics

SECRET = "open-sesame"


def place(kafka: str, prefix: str, folder: Path) -> Settings:
    """With no key but those of this folder."""
    found = settings_of(kafka, prefix)
    held = KeysSettings(signing_file=folder / "signing.pem", trusted_dir=folder)
    audit = AuditSettings(key_file=folder / "key.pem")
    return found.model_copy(update={"audit": audit, "keys": held})


def begin(settings: Settings, role: str = "node", host: str = "one") -> list[str]:
    where = settings.kafka.bootstrap or ""
    return asyncio.run(starting.begin(settings, where, role, "ada@one", host))


def test_start_is_told_when_its_settings_are_new(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = place(kafka, prefix, tmp_path)
    make_topics(kafka, prefix, partitions=2)
    first = begin(settings)
    assert "kafka.topic_prefix" in first and "kafka.sasl_mechanism" not in first
    assert begin(settings) == []
    assert begin(settings, host="two") == []  # as the last of its role, elsewhere
    secret = ClickHouseSettings(dsn=SecretStr(SECRET), readers=2)
    changed = settings.model_copy(update={"clickhouse": secret})
    assert begin(changed, host="two") == ["clickhouse.dsn", "clickhouse.readers"]
    assert begin(settings) == []  # the last of its role here
    assert begin(changed) == ["clickhouse.dsn", "clickhouse.readers"]
    assert begin(changed, role="trainer") == sorted(
        [*first, "clickhouse.dsn", "clickhouse.readers"]
    )
    write_key(tmp_path / "key.pem", key := new_key(), key.public.text)
    assert begin(changed) == [
        "audit.public_key",
        "keys.believed",
    ]  # its half lies among the trusted
    told = actions(settings)
    assert {(one.action, one.actor) for one in told} == {(SETTINGS_CHANGED, "ada@one")}
    assert sorted(one.object for one in told) == [*["node@one"] * 3, "node@two", "trainer@one"]
    (elsewhere,) = [one for one in told if one.object == "node@two"]
    assert elsewhere.details["names.1"] == "clickhouse.dsn clickhouse.readers"
    kept = str([one.value for one in read(settings, catalogue(settings).settings_state)])
    assert SECRET not in kept and key.pem().decode().splitlines()[1] not in kept


def test_start_where_topics_are_missing_says_what_to_do(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="topics sync --apply"):
        begin(place(kafka, prefix, tmp_path))


def test_start_without_a_broker_is_an_error_of_ours(prefix: str, tmp_path: Path) -> None:
    settings = place(f"127.0.0.1:{free_port()}", prefix, tmp_path)
    brief = settings.kafka.model_copy(update={"request_timeout_ms": 700})
    with pytest.raises(KafkaUnavailable):
        begin(settings.model_copy(update={"kafka": brief}))
