"""Key commands, and the audit events of them: none is lost with Kafka away, none is told of what was not done."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chimera.cli.main import app
from chimera.cli.models.actor import actor
from chimera.cli.stack.ports import free_port
from chimera.schemas.control_actions import KEY_CREATED, KEY_DESTROYED
from chimera.schemas.transparency.leaves import ActionTaken, decode_leaf
from tests.cli.letters import actions, settings_of
from tests.cli.places import make_topics

OUTBOX = Path(".chimera/audit/outbox")


@pytest.fixture(autouse=True)
def folder_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def chimera(*arguments: str, **variables: str) -> Result:
    environment = {f"CHIMERA_{name}": value for name, value in variables.items()}
    return CliRunner().invoke(app, arguments, env=environment)


def waiting() -> list[ActionTaken]:
    found = [decode_leaf(path.read_bytes()) for path in sorted(OUTBOX.glob("*.json"))]
    return [one for one in found if isinstance(one, ActionTaken)]


def test_events_of_keys_wait_while_kafka_is_away_and_are_sent_later(
    kafka: str, prefix: str
) -> None:
    made = chimera("keys", "init")
    assert made.exit_code == 0
    assert f"the audit event waits in {OUTBOX}" in made.stderr
    (event,) = waiting()
    assert (event.action, event.actor) == (KEY_CREATED, actor())
    assert event.object == made.stdout.split()[1]
    nobody = f"127.0.0.1:{free_port()}"
    chimera("keys", "tenant", "acme", KAFKA__BOOTSTRAP=nobody)
    chimera("sequencer", "--make-key")
    chimera("witness", "--make-key", WITNESS__NAME="example.org/w")
    assert len(waiting()) == 4
    away = chimera("audit", "deliver", "--bootstrap", nobody)
    assert (away.exit_code, away.stdout) == (1, f"4 events wait in {OUTBOX}\n")
    assert "no broker answers" in away.stderr

    make_topics(kafka, prefix, partitions=2)
    there = {"KAFKA__BOOTSTRAP": kafka, "KAFKA__TOPIC_PREFIX": prefix}
    chimera("keys", "destroy", "acme", "--yes", **there)
    assert waiting() == []
    assert chimera("audit", "deliver", **there).stdout == f"0 events wait in {OUTBOX}\n"
    told = actions(settings_of(kafka, prefix))
    assert sorted((one.action, one.details["use"]) for one in told) == [
        (KEY_CREATED, "commitments"),
        (KEY_CREATED, "log"),
        (KEY_CREATED, "models"),
        (KEY_CREATED, "witness"),
        (KEY_DESTROYED, "commitments"),
    ]
    assert {one.actor for one in told} == {actor()}


def test_file_that_is_damaged_is_named_and_the_others_are_sent(kafka: str, prefix: str) -> None:
    make_topics(kafka, prefix, partitions=2)
    there = {"KAFKA__BOOTSTRAP": kafka, "KAFKA__TOPIC_PREFIX": prefix}
    for arguments in (("keys", "init"), ("keys", "tenant", "acme")):
        chimera(*arguments, KAFKA__BOOTSTRAP=f"127.0.0.1:{free_port()}")
    damaged, _ = sorted(OUTBOX.glob("*.json"))
    damaged.write_bytes(b"\0" * 300)
    for _ in range(2):
        sent = chimera("audit", "deliver", **there)
        assert (sent.exit_code, sent.stdout) == (1, f"1 events wait in {OUTBOX}\n")
        assert f"{damaged.name} is damaged: " in sent.stderr
    assert [one.action for one in actions(settings_of(kafka, prefix))] == [KEY_CREATED]


def test_key_that_is_there_already_is_told_of_once() -> None:
    for arguments in (("keys", "init"), ("keys", "tenant", "acme"), ("sequencer", "--make-key")):
        codes = [chimera(*arguments).exit_code for _ in range(2)]
        assert codes == [0, 1]
    assert len(waiting()) == 3


def test_no_key_is_made_where_its_event_cannot_be_kept() -> None:
    OUTBOX.parent.mkdir(parents=True)
    OUTBOX.touch()
    refused = chimera("keys", "init")
    assert (refused.exit_code, str(OUTBOX) in refused.stderr) == (1, True)
    assert not Path(".chimera/keys/signing.pem").exists()


def test_tenants_key_is_destroyed_only_when_asked_twice() -> None:
    key = Path(".chimera/keys/tenants/acme.key")
    chimera("keys", "tenant", "acme")
    assert CliRunner().invoke(app, ["keys", "destroy", "acme"], input="n\n").exit_code == 1
    assert key.exists()
    done = chimera("keys", "destroy", "acme", "--yes")
    assert done.exit_code == 0, done.stderr
    assert not key.exists()
    again = chimera("keys", "destroy", "acme", "--yes")
    assert (again.exit_code, "has no key" in again.stderr) == (1, True)
    assert [one.action for one in waiting()] == [KEY_CREATED, KEY_DESTROYED]


def test_process_that_cannot_tell_of_its_start_is_to_be_started_again() -> None:
    assert chimera("sequencer", "--make-key").exit_code == 0
    away = {"KAFKA__BOOTSTRAP": f"127.0.0.1:{free_port()}", "KAFKA__REQUEST_TIMEOUT_MS": "300"}
    ended = chimera("sequencer", **away)
    assert (ended.exit_code, "no broker answers" in ended.stderr) == (70, True)


def test_no_event_holds_a_secret() -> None:
    chimera("keys", "init")
    chimera("keys", "tenant", "acme")
    told = b"".join(path.read_bytes() for path in OUTBOX.glob("*.json"))
    private = Path(".chimera/keys/signing.pem").read_text().splitlines()[1]
    assert private.encode() not in told
    assert Path(".chimera/keys/tenants/acme.key").read_bytes().hex().encode() not in told
