"""`chimera doctor`: well where all is well, and each thing that is broken is named with its cure."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from chimera.cli.checkup import devices as doctor_devices
from chimera.cli.checkup import host as doctor_host
from chimera.cli.checkup.findings import Finding
from chimera.cli.stack.ports import HOST
from chimera.schemas.server_settings import KafkaSettings, StackSettings
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.settings import Settings
from chimera.workers.models import write_model
from tests.cli.places import MANIFEST, Place, digits_model


def examine(place: Place, **more: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code, and the findings by check."""
    done = place.run("doctor", "--json", settings=more)
    told = json.loads(done.stdout)
    assert told["ok"] == (done.returncode == 0)
    found: dict[str, list[dict[str, Any]]] = {}
    for one in told["checks"]:
        found.setdefault(one["check"], []).append(one)
        assert one["state"] != "failed" or one["do"], one
    return done.returncode, found


def of(findings: list[Finding], check: str) -> list[Finding]:
    return [one for one in findings if one.check == check]


def host(settings: Settings) -> list[Finding]:
    return list(doctor_host.check(settings, stack_runs=False))


def test_doctor_sends_a_probe_all_the_way_round(served: Place) -> None:
    code, found = examine(served)
    assert code == 0, found
    assert [one["state"] for one in found["probe"]] == ["ok"]
    assert "request to visible result in" in found["probe"][0]["found"]
    assert found["broker"][0]["found"].endswith("transaction.version 2")
    assert "serves 1 model versions" in found["executors"][0]["found"]


def test_doctor_without_a_node_is_well_and_says_so(place: Place) -> None:
    code, found = examine(place)
    assert code == 0, found
    assert found["node"][0]["state"] == "note"
    assert "probe" not in found


def test_doctor_finds_missing_topics_and_a_refused_model(place: Place) -> None:
    (Path(place.environment["CHIMERA_SERVING__MODELS_DIR"]) / "digits/1/extra.pkl").touch()
    code, found = examine(place, CHIMERA_KAFKA__TOPIC_PREFIX=f"{place.prefix}none.")
    assert code == 1
    assert {one["do"] for one in found["topics"]} == {"`chimera topics sync --apply`"}
    assert found["model"][0]["state"] == "failed"
    assert "pickled" in found["model"][0]["found"]


def test_doctor_shows_a_table_with_advice(place: Place) -> None:
    done = place.run("doctor", "--bootstrap", "127.0.0.1:9")
    assert done.returncode == 1
    assert "no broker answers at 127.0.0.1:9" in done.stdout
    assert "-> start it (`chimera up`), or correct its address" in done.stdout


def test_doctor_names_a_wrong_setting(place: Place) -> None:
    code, found = examine(place, CHIMERA_SERVING__EXECUTORS="none")
    assert code == 1
    assert "CHIMERA_SERVING__EXECUTORS" in found["settings"][0]["found"]


def test_port_that_is_taken_fails_unless_a_stack_runs() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(kafka=KafkaSettings(embedded_port=port))
        assert of(host(settings), "port")[0].state == "failed"
        running = list(doctor_host.check(settings, stack_runs=True))
        assert of(running, "port")[0].state == "ok"


def test_disk_without_room_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    full = type(usage)(usage.total, usage.total - 1_000, 1_000)

    def measured(_: Path) -> object:
        return full

    monkeypatch.setattr("shutil.disk_usage", measured)
    settings = Settings(stack=StackSettings(dir=tmp_path / "not" / "made"))
    assert {one.state for one in of(host(settings), "disk")} == {"failed"}


def test_folder_under_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(stack=StackSettings(dir=tmp_path / "file" / "stack"))
    assert of(host(settings), "disk")[0].state == "failed"


def test_jars_that_are_not_here_are_noted_with_their_size(tmp_path: Path) -> None:
    settings = Settings(kafka=KafkaSettings(jars_dir=tmp_path))
    (jars,) = of(host(settings), "embedded Kafka")
    assert jars.state == "note"
    assert "downloads" in jars.do


def test_model_whose_file_was_changed_fails(tmp_path: Path) -> None:
    folder = write_model(tmp_path, digits_model(), MANIFEST)
    (folder / "model.onnx").write_bytes(b"another")
    settings = Settings(serving=ServingSettings(models_dir=tmp_path))
    (model,) = of(list(doctor_devices.check(settings)), "model")
    assert model.state == "failed"
    assert "SHA-256" in model.found


@pytest.mark.parametrize(
    ("driver", "state"), [((12, 4), "failed"), ((13, 2), "ok"), (None, "failed")]
)
def test_wheels_are_held_against_the_driver(
    monkeypatch: pytest.MonkeyPatch, driver: tuple[int, int] | None, state: str
) -> None:
    monkeypatch.setattr(doctor_devices, "has_driver", lambda: True)
    monkeypatch.setattr(doctor_devices, "driver_cuda", lambda: driver)
    monkeypatch.setattr(doctor_devices, "runtime_cuda", lambda: "13.0")
    monkeypatch.setattr(doctor_devices, "torch_cuda", lambda: "")
    found = list(doctor_devices.check(Settings()))
    if driver is None:
        assert of(found, "GPU driver")[0].state == state
    else:
        assert of(found, "onnxruntime")[0].state == state
        assert of(found, "torch")[0].state == "note"
