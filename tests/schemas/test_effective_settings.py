"""Settings in force: what changed, what is never in it, and the golden file of what is kept."""

import hashlib
from pathlib import Path

import pytest
from pydantic import SecretStr

from chimera.cli import settings as command
from chimera.schemas.effective_settings import (
    SET,
    STATE_VERSION,
    SettingsInForce,
    changes,
    decode_in_force,
    digest_of,
    encode_in_force,
    values_of,
)
from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.model_settings import ArtifactsSettings, TrainingSettings
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.settings import Settings

GOLDEN = Path(__file__).with_name("golden")
DEFAULTS = Settings.model_construct()
WRITTEN = {
    1: SettingsInForce(
        role="node",
        host="host",
        at_ms=1_763_717_416_000,
        actor="ada@host",
        digest=digest_of({"kafka.group": "chimera", "kafka.sasl_password": SET}),
        values={"kafka.group": "chimera", "kafka.sasl_password": SET},
    )
}
SECRET = "open-sesame"


def settings(**kafka: object) -> Settings:
    return DEFAULTS.model_copy(update={"kafka": KafkaSettings.model_validate(kafka)})


def test_state_of_this_version_is_written_as_in_its_golden_file() -> None:
    golden = GOLDEN / f"settings_in_force_v{STATE_VERSION}.json"
    assert encode_in_force(WRITTEN[STATE_VERSION]) + b"\n" == golden.read_bytes()


@pytest.mark.parametrize("version", range(1, STATE_VERSION + 1))
def test_state_of_every_golden_file_is_read(version: int) -> None:
    raw = (GOLDEN / f"settings_in_force_v{version}.json").read_bytes()
    assert decode_in_force(raw) == WRITTEN[version]


@pytest.mark.parametrize(
    ("value", "error"), [(b"\xff", Malformed), (b"{}", SchemaInvalid), (b'{"v":9}', SchemaInvalid)]
)
def test_state_that_is_none_is_refused(value: bytes, error: type[Exception]) -> None:
    with pytest.raises(error, match="settings in force"):
        decode_in_force(value)


def test_every_setting_has_a_value() -> None:
    assert set(values_of(DEFAULTS)) == {
        f"{section}.{name}" for section, name, _ in command.fields()
    }


def test_changes_are_named() -> None:
    before, now = values_of(DEFAULTS), values_of(settings(group="other", partitions=7))
    assert changes(before, now) == ["kafka.group", "kafka.partitions"]
    assert changes(before, before) == []
    assert changes(before, {**before, "kafka.new": "1"}) == ["kafka.new"]
    assert digest_of(before) != digest_of(now)


def test_secret_is_told_only_as_one_that_is_set() -> None:
    now = values_of(settings(sasl_password=SecretStr(SECRET)))
    assert changes(values_of(DEFAULTS), now) == ["kafka.sasl_password"]
    assert now["kafka.sasl_password"] == SET
    other = values_of(settings(sasl_password=SecretStr("another")))
    assert digest_of(now) == digest_of(other)
    assert hashlib.sha256(SECRET.encode()).hexdigest() not in str(now)


def test_user_and_password_in_a_url_are_left_out() -> None:
    artifacts = ArtifactsSettings(url=f"s3://me:{SECRET}@host/bucket")
    training = TrainingSettings(sources=(f"https://{SECRET}@host/data/",))
    now = values_of(DEFAULTS.model_copy(update={"artifacts": artifacts, "training": training}))
    assert SECRET not in str(now)
    assert now["artifacts.url"] == "s3://host/bucket"
    assert now["training.sources"] == '["https://host/data/"]'
