"""`chimera demo` as a newcomer runs it, and what an end leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka.admin import AdminClient

from chimera.cli.demoing.versions import GOOD, WORSE

pytestmark = pytest.mark.campaign
REGISTERED = "first version registered"
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
    "tiers",
    "promotion",
    "rollback",
    "training",
    "audit",
}


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
        timeout=400,
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
    require_story(told)
    require_kept(told)


def require_story(told: dict[str, Any]) -> None:
    """Two verified versions; the worse one answered for a while, and was taken back by itself."""
    for version in (GOOD, WORSE):
        verdicts = {one["tier"]: one["verdict"] for one in told["tiers"][version]}
        assert len(verdicts) == 9
        verified = {tier for tier, verdict in verdicts.items() if verdict == "verified"}
        assert verified == {"onnx-cpu", "torch-cpu"}
        assert all(one["reason"] for one in told["tiers"][version] if one["tier"] not in verified)
    promotion, rollback = told["promotion"], told["rollback"]
    assert promotion["requests"] == promotion["results"] == sum(promotion["answered"].values())
    assert promotion["answered"][WORSE] > 0
    assert promotion["right"][GOOD] > 0.9 * promotion["answered"][GOOD]
    assert promotion["right"].get(WORSE, 0) < 0.5 * promotion["answered"][WORSE]
    assert rollback["is_automatic"]
    assert rollback["reason"]
    assert rollback["restored"] == [GOOD]
    assert 0 < promotion["visible_after_s"] < rollback["visible_after_s"]


def require_kept(told: dict[str, Any]) -> None:
    """Both runs are ranked, the second one's data have drifted; every request is a signed leaf."""
    first, second = told["training"]["runs"]
    assert (first["run_id"], second["run_id"]) == (GOOD, WORSE)
    assert first["metrics"]["accuracy"] > 0.9
    assert not first["drift"]
    assert len(second["drift"]) > 30
    assert {one["run_id"] for one in told["training"]["leaderboard"]} == {GOOD, WORSE}
    audit = told["audit"]
    assert audit["ok"]
    assert audit["leaves"] == audit["signed"] == audit["witnessed"]
    assert audit["leaves"] >= told["results"] + told["promotion"]["results"]
    assert any(one.startswith(f"leaf {audit['altered']}: changed") for one in audit["faults"])


def topics(kafka: str) -> list[str]:
    return list(AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics)


@pytest.mark.timeout(900)
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
    asked = run(
        temporary, "infer", "digits", "--input", str(folder / "data" / "digit.json"), **config
    )
    assert asked.returncode == 0, asked.stderr
    shown = run(temporary, "watch", "--once", **config)
    assert "1 in the group" in shown.stdout, shown.stderr
    models = run(temporary, "models", "history", "digits", **config)
    assert "rollback" in models.stdout, models.stderr
    ranked = run(temporary, "train", "leaderboard", "--metric", "accuracy", "--max", **config)
    assert GOOD in ranked.stdout, ranked.stderr
    counted = run(
        temporary, "sql", "SELECT count() FROM inference_log", "--format", "tsv", **config
    )
    assert int(counted.stdout) >= 400, counted.stderr
    assert run(temporary, "down", **config).returncode == 0


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("number", "after", "is_kafka_its_own"),
    [
        (signal.SIGINT, {"topics made"}, True),  # while all processes start
        (signal.SIGTERM, {"node ready", REGISTERED}, False),  # while a version is compiled
        (signal.SIGKILL, {"node ready", REGISTERED}, True),
    ],
)
def test_demo_that_is_interrupted_leaves_no_process_and_no_topic(
    temporary: Path, kafka: str, number: signal.Signals, after: set[str], is_kafka_its_own: bool
) -> None:
    command = [sys.executable, "-m", "chimera.cli", "demo"]
    cluster = {} if is_kafka_its_own else {"CHIMERA_KAFKA__BOOTSTRAP": kafka}
    with subprocess.Popen(
        command, env=environment(temporary, **cluster), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        awaited = set(after)
        while awaited:
            line = process.stderr.readline()
            assert line, "it ended by itself"
            awaited -= {what for what in awaited if what in line}
        if "node ready" in after:
            await_compiler(temporary)
        assert len(processes(temporary)) >= 3
        had_topics = any(name.startswith("demo-") for name in topics(kafka))
        process.send_signal(number)
        told = process.stderr.read()
    until = time.monotonic() + 30
    while processes(temporary) and time.monotonic() < until:
        time.sleep(0.1)
    if number != signal.SIGKILL:
        assert process.returncode == 130, told
        assert list(temporary.iterdir()) == []
    assert had_topics == (not is_kafka_its_own)
    assert not [name for name in topics(kafka) if name.startswith("demo-")]


def await_compiler(folder: Path) -> None:
    """Until the controller's process for a version runs."""
    until = time.monotonic() + 60
    while not [one for one in processes(folder) if "chimera.workers.compiling" in one.cmdline()]:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_demo_refuses_to_keep_a_cluster_that_is_not_its_own(temporary: Path) -> None:
    done = run(temporary, "demo", "--keep", CHIMERA_KAFKA__BOOTSTRAP="127.0.0.1:9")
    assert done.returncode == 1
    assert "--keep is for the demo's own Kafka" in done.stderr
