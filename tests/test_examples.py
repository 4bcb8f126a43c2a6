"""The examples and README's own, run as a reader would run them, against a real node."""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.places import Place, make_place

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


def run(name: str, place: Place, topic: str, *arguments: str) -> list[str]:
    """The lines that an example prints."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--bootstrap", place.bootstrap]
    done = subprocess.run(
        [*command, "--topic", f"{place.prefix}{topic}", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def example(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A node that has served nothing yet."""
    place = make_place(kafka, tmp_path_factory.mktemp("example"), f"e{uuid.uuid4().hex[:8]}")
    node = place.node()
    yield place
    node.stop(30)


@pytest.fixture(scope="module")
def outcomes(example: Place) -> dict[str, list[str]]:
    """What each consumer prints of two good requests of each producer and a bad one."""
    for writer in ("producer_confluent", "producer_aiokafka"):
        told = run(writer, example, "inference.requests", "--count", "2")
        assert [line.split()[:2] for line in told] == [
            ["published:", f"{example.prefix}inference.requests"]
        ] * 2
    run("producer_confluent", example, "inference.requests", "--model", "nobody")
    return {
        reader: run(
            reader, example, "inference.results", "--count", "5", "--group", uuid.uuid4().hex
        )
        for reader in ("consumer_confluent", "consumer_aiokafka")
    }


@pytest.mark.parametrize("reader", ["consumer_confluent", "consumer_aiokafka"])
@pytest.mark.parametrize("name", ["nought", "one"])
def test_consumer_prints_answers_in_the_order_of_their_key(
    outcomes: dict[str, list[str]], reader: str, name: str
) -> None:
    good = [
        line for line in outcomes[reader] if line.startswith(name) and "unknown_model" not in line
    ]
    assert [line.split(":")[0] for line in good] == [f"{name}-0", f"{name}-1"]
    assert good[0].split(":")[1] == good[1].split(":")[1]


@pytest.mark.parametrize("reader", ["consumer_confluent", "consumer_aiokafka"])
def test_consumer_tells_an_error_from_a_response(
    outcomes: dict[str, list[str]], reader: str
) -> None:
    (bad,) = (line for line in outcomes[reader] if "unknown_model" in line)
    assert bad.startswith("nought-0: unknown_model: ")


def test_example_digit_is_answered(example: Place) -> None:
    done = example.run("infer", "digits", "--input", str(EXAMPLES / "digit.json"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"][0]["shape"] == [1]


def test_what_readme_shows_publishes_a_request_and_prints_its_answer(example: Place) -> None:
    blocks = re.findall(r"```python\n(.+?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    producer, consumer = (
        block.replace("127.0.0.1:9092", example.bootstrap)
        .replace("inference.", f"{example.prefix}inference.")
        .replace("my-request", "of-the-readme")
        .replace('"mine"', f'"{uuid.uuid4().hex}"')
        for block in blocks
    )
    for block in (producer, consumer):
        done = subprocess.run(
            [sys.executable, "-c", block], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
    (told,) = (line for line in done.stdout.splitlines() if line.startswith("of-the-readme "))
    assert "'datatype': 'INT64'" in told
