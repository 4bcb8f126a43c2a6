"""`chimera demo` as a newcomer runs it, its judge before wrong answers, and what an end leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from chimera.cli import demo_requests, demo_table
from chimera.cli.demo_requests import Digits, Request
from chimera.cli.demo_stack import toml
from chimera.cli.demo_verdict import Verdict, judge
from chimera.cli.results import Coordinates
from chimera.schemas import inference
from chimera.schemas.errors import Malformed, RequestError
from chimera.schemas.server_settings import PostgresSettings
from chimera.schemas.settings import Settings

LIMIT_BYTES = 100_000
KEYS = {
    "requests",
    "results",
    "dead_letters",
    "expected",
    "mismatched",
    "lost",
    "duplicated",
    "accuracy",
    "throughput_rps",
    "latency_ms",
}


# The plan.


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Ten of them: image n is full of n, its scores say n."""
    images = np.repeat(np.arange(10, dtype=np.float32)[:, None], 64, axis=1)
    return Digits(images, np.arange(10), np.eye(10, dtype=np.float32))


@pytest.fixture(scope="module")
def plan(digits: Digits) -> demo_requests.Plan:
    return demo_requests.plan(digits, 1_000, LIMIT_BYTES)


def every(plan: demo_requests.Plan) -> list[Request]:
    return [*plan.burst, *plan.paced]


@pytest.mark.parametrize("count", [20, 400, 1_000])
def test_plan_has_as_many_requests_as_asked_for_and_each_kind(digits: Digits, count: int) -> None:
    made = demo_requests.plan(digits, count, LIMIT_BYTES)
    kinds = Counter(request.kind for request in every(made))
    assert len(made) == count
    assert set(kinds) == {
        "JSON",
        "binary",
        "broken JSON",
        "unknown model",
        "wrong shape",
        "wrong datatype",
        "expired deadline",
        "over the size limit",
    }
    assert abs(kinds["JSON"] - kinds["binary"]) <= 1
    assert len({request.id for request in every(made)}) == count
    assert all(request.code is None for request in made.paced)


def test_plan_is_read_by_the_codec_as_meant(plan: demo_requests.Plan, digits: Digits) -> None:
    for request in every(plan):
        head = int(dict(request.headers).get("inference-header-content-length", b"-1"))
        try:
            found = inference.decode(request.value, head)
        except RequestError as error:
            assert (request.kind, type(error)) == ("broken JSON", Malformed)
            continue
        if request.code is None:
            tensor = found.inputs["image"].array
            assert np.array_equal(tensor, digits.images[request.digit][None])


def test_plan_oversteps_the_limit_by_one_byte(plan: demo_requests.Plan) -> None:
    sizes = {len(one.value) for one in plan.burst if one.kind == "over the size limit"}
    assert sizes == {LIMIT_BYTES + 1}


# The judge.


@dataclass(frozen=True)
class Told:
    """A record as a consumer gets it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] = field(default_factory=list[tuple[str, bytes | None]])


Sent = dict[Coordinates, Request]


def published(plan: demo_requests.Plan) -> Sent:
    return {Coordinates("q", 0, number): one for number, one in enumerate(every(plan))}


def result(where: Coordinates, request: Request, digit: int | None = None) -> Told:
    number = request.digit if digit is None else digit
    outputs = [
        {"name": "digit", "datatype": "INT64", "shape": [1], "data": [number]},
        {
            "name": "scores",
            "datatype": "FP32",
            "shape": [1, 10],
            "data": np.eye(10)[number].tolist(),
        },
    ]
    body = {"id": request.id, "outputs": outputs} if request.code is None else {"id": request.id}
    return Told("r", 0, 0, request.key, json.dumps(body).encode(), story("request", where, request))


def letter(where: Coordinates, request: Request) -> Told:
    return Told("d", 0, 0, request.key, request.value, story("orig", where, request))


def story(name: str, where: Coordinates, request: Request) -> list[tuple[str, bytes | None]]:
    found: list[tuple[str, bytes | None]] = [
        (f"chimera-{name}-topic", where.topic.encode()),
        (f"chimera-{name}-partition", b"%d" % where.partition),
        (f"chimera-{name}-offset", b"%d" % where.offset),
    ]
    return [*found, ("chimera-error-code", request.code.encode())] if request.code else found


def judged(sent: Sent, digits: Digits, answers: Iterable[Told], letters: Iterable[Told]) -> Verdict:
    return judge(sent, answers, letters, digits)


def perfect(sent: Sent) -> tuple[list[Told], list[Told]]:
    answers = [result(*one) for one in sent.items()]
    return answers, [letter(*one) for one in sent.items() if one[1].code]


def test_judge_finds_nothing_wrong_where_nothing_is(
    plan: demo_requests.Plan, digits: Digits
) -> None:
    sent = published(plan)
    verdict = judged(sent, digits, *perfect(sent))
    assert verdict.is_exact, verdict.complaints
    assert verdict.accuracy == 1.0
    assert verdict.expected == verdict.dead_letters
    assert verdict.outcomes.total() == verdict.results == verdict.requests == 1_000


Spoil = Callable[[list[Told], list[Told]], object]


def changed(at: int, **fields: object) -> Spoil:
    def change(answers: list[Told], _: list[Told]) -> None:
        answers[at] = replace(answers[at], **fields)  # type: ignore[arg-type]  # of Told, by name

    return change


WRONG: dict[str, tuple[Spoil, tuple[int, int, int]]] = {
    "a result is missing": (lambda answers, _: answers.pop(7), (1, 0, 0)),
    "a result comes twice": (lambda answers, _: answers.append(answers[-1]), (0, 1, 0)),
    "two results change places": (lambda answers, _: answers.reverse(), (0, 0, 999)),
    "a result has another key": (changed(3, key=b"other"), (0, 0, 1)),
    "a result is in another partition": (changed(3, partition=1), (0, 0, 1)),
    "a result is of nobody's": (changed(3, headers=[]), (1, 0, 1)),
    "a result cannot be read": (changed(-1, value=b"{"), (0, 0, 1)),
    "a result is empty": (changed(-1, value=None), (0, 0, 1)),
    "a dead letter is missing": (lambda _, letters: letters.pop(), (0, 0, 1)),
    "a dead letter comes twice": (lambda _, letters: letters.append(letters[0]), (0, 1, 0)),
    "a dead letter has other bytes": (
        lambda _, letters: letters.append(replace(letters.pop(), value=b"")),
        (0, 0, 1),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_judge_notices_when(plan: demo_requests.Plan, digits: Digits, what: str) -> None:
    spoil, expected = WRONG[what]
    sent = published(plan)
    answers, letters = perfect(sent)
    spoil(answers, letters)
    verdict = judged(sent, digits, answers, letters)
    assert (verdict.lost, verdict.duplicated, verdict.mismatched) == expected
    assert verdict.complaints


def test_judge_notices_answers_that_were_given_to_the_wrong_requests(
    plan: demo_requests.Plan, digits: Digits
) -> None:
    sent = published(plan)
    answers, letters = perfect(sent)
    where, request = next(one for one in sent.items() if one[1].code is None)
    answers[where.offset] = result(where, request, digit=(request.digit + 1) % 10)
    verdict = judged(sent, digits, answers, letters)
    assert verdict.mismatched == 1
    assert verdict.right == verdict.valid - 1


def test_judge_notices_a_bad_request_that_was_served(
    plan: demo_requests.Plan, digits: Digits
) -> None:
    sent = published(plan)
    answers, letters = perfect(sent)
    where, request = next(one for one in sent.items() if one[1].kind == "expired deadline")
    answers[where.offset] = result(where, replace(request, code=None))
    assert judged(sent, digits, answers, letters).mismatched == 1


def test_percentiles_of_few_values_are_among_them() -> None:
    assert demo_table.percentiles([]) == {}
    assert demo_table.percentiles([3.0]) == {"p50": 3.0, "p95": 3.0, "p99": 3.0}
    found = demo_table.percentiles([float(value) for value in range(1, 101)])
    assert found == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


# The whole.


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where a demo makes its folder; nothing that was started from there may be left at the end."""
    yield tmp_path
    left = processes(tmp_path)
    for process in left:
        process.kill()
    assert not left


def processes(folder: Path) -> list[psutil.Process]:
    """Those whose command line or environment names the folder."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and any(str(folder) in text for text in told):
            found.append(process)
    return found


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), **more}


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chimera.cli", *arguments],
        env=environment(folder, **more),
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )


def require_good(file: Path, requests: int) -> None:
    told = json.loads(file.read_text())
    assert set(told) == KEYS
    assert told["requests"] == told["results"] == requests
    assert told["dead_letters"] == told["expected"]
    assert set(told["expected"]) == {
        "deadline_exceeded",
        "malformed",
        "schema_invalid",
        "too_large",
        "unknown_model",
    }
    assert told["lost"] == told["duplicated"] == told["mismatched"] == 0
    assert told["accuracy"] >= 0.95
    assert told["throughput_rps"] > 0
    assert 0 < told["latency_ms"]["p50"] <= told["latency_ms"]["p95"] <= told["latency_ms"]["p99"]


@pytest.mark.timeout(300)
def test_demo_on_a_cluster_of_ones_own_leaves_nothing_there(
    kafka: str, temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("demo") / "figures.json"
    arguments = ("demo", "--requests", "400", "--json", str(file))
    done = run(temporary, *arguments, CHIMERA_KAFKA__BOOTSTRAP=kafka)
    assert done.returncode == 0, done.stdout + done.stderr
    require_good(file, 400)
    assert list(temporary.iterdir()) == []
    assert not [name for name in topics(kafka) if name.startswith("demo-")]


def topics(kafka: str) -> list[str]:
    return list(AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics)


def test_settings_file_of_a_kept_demo_holds_no_secret() -> None:
    dsn = SecretStr("postgresql://app:secret@host/registry")
    postgres = PostgresSettings(dsn=dsn, pool_max=3)
    assert toml(Settings(postgres=postgres)) == "[postgres]\npool_max = 3\n"


@pytest.mark.timeout(300)
def test_demo_that_is_kept_can_be_used_and_stopped(
    temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("demo") / "figures.json"
    done = run(temporary, "demo", "--requests", "400", "--json", str(file), "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    require_good(file, 400)
    (folder,) = temporary.iterdir()
    config = {"CHIMERA_CONFIG": str(folder / "chimera.toml")}
    assert f"export CHIMERA_CONFIG={config['CHIMERA_CONFIG']}" in done.stdout
    asked = run(temporary, "infer", "digits", "--input", str(folder / "digit.json"), **config)
    assert asked.returncode == 0, asked.stderr
    shown = run(temporary, "watch", "--once", **config)
    assert "1 in the group" in shown.stdout, shown.stderr
    assert run(temporary, "down", **config).returncode == 0


@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_demo_that_is_interrupted_leaves_no_process(
    temporary: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "chimera.cli", "demo"]
    with subprocess.Popen(
        command, env=environment(temporary), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "topics made" in line:  # Kafka runs, and the training too
                break
        assert len(processes(temporary)) >= 3
        process.send_signal(number)
        told = process.stderr.read()
    until = time.monotonic() + 30
    while processes(temporary) and time.monotonic() < until:
        time.sleep(0.1)
    if number != signal.SIGKILL:
        assert process.returncode == 130, told
        assert list(temporary.iterdir()) == []


def test_demo_refuses_to_keep_a_cluster_that_is_not_its_own(temporary: Path) -> None:
    done = run(temporary, "demo", "--keep", CHIMERA_KAFKA__BOOTSTRAP="127.0.0.1:9")
    assert done.returncode == 1
    assert "--keep is for the demo's own Kafka" in done.stderr


def test_digits_are_scikit_learns() -> None:
    script = """
import numpy as np
from sklearn.datasets import load_digits
from chimera.cli.digits import digits
images, labels = digits()
theirs = load_digits()
assert np.array_equal(images, theirs.data) and np.array_equal(labels, theirs.target)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=100)
