"""Kafka's classes are made once, by one process, and what cannot be made is done without."""

import subprocess
import time
from pathlib import Path

import pytest

from chimera.cli.kafka import classes, config
from chimera.cli.kafka.jars import class_path
from chimera.cli.kafka.server import DEFAULT_JARS
from chimera.cli.stack import locks
from chimera.schemas.errors import KafkaUnavailable

MADE_WITHIN_S = 110.0  # by whoever was first: a broker's start and end


@pytest.fixture
def jars(tmp_path: Path) -> list[Path]:
    (tmp_path / "a.jar").write_bytes(b"any")
    return [tmp_path / "a.jar"]


def never(_: Path) -> None:
    raise AssertionError("a second time")


def write(file: Path) -> None:
    file.write_bytes(b"classes")


def test_classes_are_made_once_and_used_from_then_on(jars: list[Path]) -> None:
    options = classes.options(jars, write)
    (file,) = jars[0].parent.glob("*.aot")
    assert f"-XX:AOTCache={file}" in options
    assert classes.options(jars, never) == options


def test_other_jars_have_other_classes(jars: list[Path]) -> None:
    before = classes.options(jars, write)
    jars[0].write_bytes(b"another one")
    assert classes.options(jars, write) != before


def test_java_that_writes_none_is_not_asked_again(jars: list[Path]) -> None:
    assert classes.options(jars, lambda _: None) == ()
    assert classes.options(jars, never) == ()


def test_broker_that_does_not_run_leaves_nothing_and_is_tried_again(jars: list[Path]) -> None:
    def fail(file: Path) -> None:
        write(file)
        raise KafkaUnavailable("no")

    assert classes.options(jars, fail) == ()
    assert sorted(file.suffix for file in jars[0].parent.iterdir()) == [".jar", ".lock"]
    assert classes.options(jars, write) != ()


def test_nobody_waits_for_another_that_makes_them(jars: list[Path]) -> None:
    def meanwhile(file: Path) -> None:
        assert classes.options(jars, never) == ()
        write(file)

    assert classes.options(jars, meanwhile) != ()
    (lock,) = jars[0].parent.glob("*.lock")
    assert locks.holder(lock) is None


def wait(_: Path) -> None:
    """For the other one, that began before the broker did."""
    raise KafkaUnavailable("not here")


def test_java_takes_the_classes_of_a_real_broker(kafka: str) -> None:
    """`AOTMode=on` ends it where it cannot use them."""
    found = class_path(DEFAULT_JARS)
    until = time.monotonic() + MADE_WITHIN_S
    while not (options := classes.options(found, wait)):
        assert time.monotonic() < until
        time.sleep(0.2)
    command = config.java(found, [*options, "-XX:AOTMode=on"], is_brief=True)
    done = subprocess.run([*command, "-version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
