"""`chimera topics`: what it prints, and with which status it ends."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chimera.cli.main import app
from chimera.schemas.settings import Settings
from chimera.topics import asyncapi
from chimera.topics.catalogue import catalogue

DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi.json"


@pytest.fixture(autouse=True)
def settings_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but a test's: a folder without a file, and a terminal wide enough."""
    monkeypatch.chdir(tmp_path)


def chimera(*arguments: str, **variables: str) -> Result:
    environment = {f"CHIMERA_{name}": value for name, value in variables.items()}
    return CliRunner().invoke(app, ["topics", *arguments], env=environment)


def test_list_shows_every_topic_of_the_settings() -> None:
    result = chimera("list", KAFKA__TOPIC_PREFIX="eu.")
    assert result.exit_code == 0
    shown = {line.split()[0] for line in result.stdout.splitlines() if line.startswith(" eu.")}
    prefixed = {f"eu.{topic.name}" for topic in catalogue(Settings.model_construct())}
    assert shown == prefixed


def test_list_with_a_wrong_setting_names_it() -> None:
    result = chimera("list", KAFKA__TOPIC_PREFIX="no spaces ")
    assert result.exit_code == 1
    assert "CHIMERA_KAFKA__TOPIC_PREFIX" in result.stderr


def test_sync_shows_differences_and_changes_nothing(kafka: str, prefix: str) -> None:
    for _ in range(2):
        result = chimera("sync", "--bootstrap", kafka, KAFKA__TOPIC_PREFIX=prefix)
        assert result.exit_code == 1
        assert result.stdout.count(prefix) == len(list(catalogue(Settings.model_construct())))
        assert "no topic" in result.stdout


def test_sync_apply_puts_it_right(kafka: str, prefix: str) -> None:
    variables = {"KAFKA__TOPIC_PREFIX": prefix, "KAFKA__BOOTSTRAP": kafka}
    applied = chimera("sync", "--bootstrap", kafka, "--apply", **variables)
    assert applied.exit_code == 0, applied.output
    assert "20 of 20 differences are gone" in applied.stdout
    again = chimera("sync", "--bootstrap", kafka, **variables)
    assert again.exit_code == 0
    assert "all 20 topics as they should be" in again.stdout


def test_sync_what_only_a_person_can_change_is_left(kafka: str, prefix: str) -> None:
    many = {"KAFKA__TOPIC_PREFIX": prefix, "KAFKA__PARTITIONS": "2"}
    assert chimera("sync", "--bootstrap", kafka, "--apply", **many).exit_code == 0
    few = many | {"KAFKA__PARTITIONS": "1"}
    result = chimera("sync", "--bootstrap", kafka, "--apply", **few)
    assert result.exit_code == 1
    assert "set CHIMERA_KAFKA__PARTITIONS=2" in result.stdout


def test_sync_without_a_broker_says_where_it_looked() -> None:
    result = chimera("sync", "--bootstrap", "127.0.0.1:1")
    assert result.exit_code == 1
    assert "no broker answers at 127.0.0.1:1" in result.stderr


def test_asyncapi_prints_the_document_of_the_settings() -> None:
    result = chimera("asyncapi", KAFKA__PARTITIONS="9")
    channel = json.loads(result.stdout)["channels"]["inference.requests"]
    assert channel["bindings"]["kafka"]["partitions"] == 9


def test_asyncapi_check_of_the_committed_document_passes() -> None:
    assert chimera("asyncapi", "--check", str(DOCUMENT)).exit_code == 0


def test_asyncapi_check_shows_what_differs(tmp_path: Path) -> None:
    stale = tmp_path / "stale.json"
    topics = catalogue(Settings.model_construct())
    stale.write_text(asyncapi.encode(topics).replace('"partitions": 4', '"partitions": 5', 1))
    result = chimera("asyncapi", "--check", str(stale))
    assert result.exit_code == 1
    assert '-          "partitions": 5,' in result.stdout
    assert '+          "partitions": 4,' in result.stdout


def test_asyncapi_check_of_a_missing_file_says_so(tmp_path: Path) -> None:
    result = chimera("asyncapi", "--check", str(tmp_path / "absent.json"))
    assert result.exit_code == 1
    assert "absent.json" in result.stderr
