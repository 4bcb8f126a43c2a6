"""Settings: environment over file over default; a mistake is named, a secret is not."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from chimera.cli import settings as command
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.settings import Settings, inheritable, load, secret_sections

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no file of the machine that runs the test."""
    for section, name, _ in command.fields():
        monkeypatch.delenv(command.variable(section, name), raising=False)
    monkeypatch.setenv("CHIMERA_CONFIG", str(tmp_path / "chimera.toml"))


def test_load_without_anything_gives_the_defaults() -> None:
    assert load() == Settings()


def test_load_takes_the_file_and_puts_the_environment_over_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "chimera.toml").write_text('[kafka]\ngroup = "file"\npartitions = 7\n')
    monkeypatch.setenv("CHIMERA_KAFKA__GROUP", "environment")
    kafka = load().kafka
    assert (kafka.group, kafka.partitions) == ("environment", 7)


def test_load_reads_a_list_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIMERA_SERVING__RETRY_DELAYS_MS", "[1, 2]")
    assert load().serving.retry_delays_ms == (1, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHIMERA_KAFKA__PARTITIONS", "0"),
        ("CHIMERA_KAFKA__PARTITIONS", "many"),
        ("CHIMERA_KAFKA__BOOTSTRP", "one:9092"),
        ("CHIMERA_KAFAK__BOOTSTRAP", "one:9092"),
        ("CHIMERA_SERVING__GUARANTEE", "maybe"),
    ],
)
def test_load_names_the_variable_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        load()


def test_load_of_a_list_that_is_not_json_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIMERA_SERVING__DEVICES", "cuda:0")
    with pytest.raises(ConfigurationError, match="JSON"):
        load()


def test_load_of_a_file_that_is_not_toml_says_so(tmp_path: Path) -> None:
    (tmp_path / "chimera.toml").write_text("kafka: {}\n")
    with pytest.raises(ConfigurationError, match="settings file"):
        load()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().kafka = KafkaSettings()  # type: ignore[misc]  # it is the point of the test


def test_a_secret_is_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIMERA_KAFKA__SASL_PASSWORD", "open-sesame")
    found = load()
    assert "open-sesame" not in repr(found)
    assert "open-sesame" not in command.shown(found.kafka.sasl_password)


def test_each_setting_is_described() -> None:
    undescribed = [
        command.variable(section, name)
        for section, name, field in command.fields()
        if not field.description
    ]
    assert undescribed == []


def test_documentation_of_the_settings_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "settings.md").read_text("utf-8") == command.page(), "run `make docs`"


def test_sections_with_a_secret_are_known() -> None:
    assert secret_sections() == ("kafka", "postgres", "clickhouse", "keys", "audit", "witness")


def test_children_inherit_everything_but_secrets() -> None:
    kept = {
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "claim checks may need it",
        "CHIMERA_SERVING__THREADS": "2",
        "CHIMERA_CONFIG": "chimera.toml",
    }
    secret = {
        "CHIMERA_KEYS__SIGNING": "pem",
        "chimera_keys__signing": "names are read in any case",
        "CHIMERA_KAFKA__SASL_PASSWORD": "word",
        "CHIMERA_POSTGRES__OWNER_DSN": "dsn",
        "CHIMERA_POSTGRES": '{"dsn": "all fields at once"}',
        "PGPASSWORD": "word",
    }
    assert inheritable(kept | secret) == kept
