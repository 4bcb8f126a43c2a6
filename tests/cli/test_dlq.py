"""`chimera dlq` on a real broker: what is listed, and that a letter is replayed once, whatever happens."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chimera.cli.main import app
from chimera.cli.models.actor import actor
from chimera.schemas.control_actions import REPLAYED
from chimera.schemas.settings import Settings
from chimera.topics.catalogue import catalogue
from tests.cli.letters import actions, letter, read, settings_of, starts, write
from tests.cli.places import Place, make_topics

LATE = ("chimera-deadline", b"1763717417000")
WITHIN_S = 60.0


@pytest.fixture
def settings(kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Topics of the test's own, which commands find by their environment."""
    monkeypatch.chdir(tmp_path)
    found = settings_of(kafka, prefix)
    for name in ("bootstrap", "topic_prefix", "group", "partitions"):
        monkeypatch.setenv(f"CHIMERA_KAFKA__{name.upper()}", str(getattr(found.kafka, name)))
    make_topics(kafka, prefix, partitions=2)
    return found


def dlq(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["dlq", *arguments], input=text)


def replays(settings: Settings) -> Counter[str]:
    """How often each request was sent again."""
    found = read(settings, catalogue(settings).requests)
    return Counter(dict(one.headers)["chimera-replay-of"].decode() for one in found)


def test_letters_are_listed_and_shown_and_replayed_as_asked(settings: Settings) -> None:
    topics = catalogue(settings)
    codes = ["model_error", "malformed", "model_error"]
    write(settings, [letter(topics, number, code) for number, code in enumerate(codes)])
    listed = json.loads(dlq("list", "--json").stdout)
    assert sorted(one["code"] for one in listed) == sorted(codes)
    assert [one["replayed"] for one in listed] == [None] * 3
    assert "no dead letters" in dlq("list", "--code", "shed").stdout
    dry = dlq("replay", "--code", "malformed", "--dry-run")
    assert dry.stdout == "1 would be replayed, 0 were before\n"
    assert dlq("replay", "--code", "malformed", text="n\n").exit_code == 1
    assert replays(settings) == {}

    done = dlq("replay", "--code", "malformed", "--yes", "--reason", "mended")
    assert (done.exit_code, done.stdout) == (0, "1 replayed, 0 were before\n")
    (record,) = read(settings, topics.requests)
    assert (record.key, record.value, record.partition) == (b"k1", b'{"n": 1}', 1)
    assert record.headers == (
        ("n", b"1"),
        ("chimera-replay-of", f"{topics.requests.name}:1:1".encode()),
        ("chimera-generation", b"1"),
    )
    (event,) = actions(settings)
    assert (event.action, event.actor, event.reason) == (REPLAYED, actor(), "mended")
    assert event.object == f"{topics.dead_letters.name}:1:0"
    shown = json.loads(dlq("show", "1", "0", "--json").stdout)
    assert shown["replayed"]["actor"] == actor()
    assert (shown["value"], shown["headers"]) == ('{"n": 1}', [["n", "1"]])
    assert "malformed" in dlq("show", "1", "0").stdout
    missing = dlq("show", "1", "9")
    assert (missing.exit_code, "no dead letter at" in missing.stderr) == (1, True)

    assert dlq("replay", "--limit", "1", "--yes").stdout == "1 replayed, 0 were before\n"
    rest = dlq("replay", "--since", "1h", "--yes")
    assert rest.stdout == "1 replayed, 2 were before\n"
    assert set(replays(settings).values()) == {1} and len(replays(settings)) == 3


def test_letters_that_must_not_be_replayed_are_left_and_counted(settings: Settings) -> None:
    topics = catalogue(settings)
    foreign = letter(catalogue(settings_of("", "other.")), 1)
    write(settings, [letter(topics, 0, headers=[LATE]), foreign, letter(topics, 2)])
    left = dlq("replay", "--yes")
    assert left.stdout.startswith("1 replayed, 0 were before\n")
    assert "1 left: its caller's deadline has passed" in left.stdout
    assert f"1 left: it came from other.inference.requests, not from {topics.requests.name}" in (
        left.stdout
    )
    again = dlq("replay", "--yes", "--without-deadline")
    assert again.stdout.startswith("1 replayed, 1 were before\n")
    assert set(replays(settings).values()) == {1}


def test_letters_are_replayed_once_through_kills_and_repeats(settings: Settings) -> None:
    topics, count = catalogue(settings), 250
    write(settings, [letter(topics, number) for number in range(count)])
    command = [sys.executable, "-m", "chimera.cli", "dlq", "replay", "--yes"]
    environment = os.environ | {"CHIMERA_CRASH_AT": "after_produce:2"}
    killed = subprocess.run(command, env=environment, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert dlq("replay", "--yes").stdout == "150 replayed, 100 were before\n"
    assert dlq("replay", "--yes").stdout == "0 replayed, 250 were before\n"
    found = replays(settings)
    assert (len(found), set(found.values())) == (count, {1})
    events = actions(settings)
    assert len({one.event_id for one in events}) == len(events) == count


def test_options_that_make_no_sense_are_refused(settings: Settings) -> None:
    assert dlq("list", "--code", "nonsense").exit_code == 2
    wrong = dlq("list", "--topic", "inference.results")
    assert (wrong.exit_code, "has no dead letters" in wrong.stderr) == (1, True)


def test_node_has_told_of_its_settings_before_it_served(served: Place) -> None:
    assert starts(served.bootstrap, served.prefix) == ["node"]


def newest() -> dict[str, Any]:
    (found,) = json.loads(dlq("list", "--limit", "1", "--json").stdout)
    return dict(found)


def test_letter_of_a_node_is_replayed_and_answered_again(
    served: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    asked = CliRunner().invoke(app, ["infer", "digits", "--input", "-"], input='{"inputs": []}')
    assert asked.exit_code == 1, asked.output
    before = newest()
    options = ("--yes", "--without-deadline", "--since", before["written"])
    assert dlq("replay", *options).stdout == "1 replayed, 0 were before\n"
    until = time.monotonic() + WITHIN_S
    while (after := newest())["request"] == before["request"]:
        assert time.monotonic() < until
    assert (after["code"], after["message"]) == (before["code"], before["message"])
    shown = json.loads(dlq("show", str(after["partition"]), str(after["offset"]), "--json").stdout)
    assert ["chimera-replay-of", before["request"]] in shown["headers"]
