import asyncio
import sys

import pytest

from chimera.schemas.errors import ConfigurationError
from chimera.workers import devices
from chimera.workers.devices import PROBE


def found(named: tuple[str, ...], script: str = "raise SystemExit(1)") -> tuple[str, ...]:
    return asyncio.run(devices.devices(named, (sys.executable, "-c", script)))


def test_named_devices_are_taken_as_they_are() -> None:
    assert found(("cuda:1", "cpu")) == ("cuda:1", "cpu")


@pytest.mark.parametrize("named", [("gpu",), ("cuda",), ("cuda:x",), ("cpu:0",), ("cpu", "cpu")])
def test_what_can_be_no_device_is_a_wrong_setting(named: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="CHIMERA_SERVING__DEVICES"):
        found(named)


def test_without_a_driver_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_driver", lambda: False)
    assert found((), "print('cuda:0')") == ("cpu",)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("print('cuda:0'); print('cuda:1')", ("cuda:0", "cuda:1")),
        ("print('some library says hello'); print('cuda:0')", ("cuda:0",)),
        ("", ("cpu",)),
        ("import os; os.abort()", ("cpu",)),
    ],
)
def test_usable_gpus_are_what_the_probe_names(
    monkeypatch: pytest.MonkeyPatch, script: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.setattr(devices, "has_driver", lambda: True)
    assert found((), script) == expected


def test_probe_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_driver", lambda: True)
    monkeypatch.setattr(devices, "PROBE_WITHIN_S", 0.3)
    assert found((), "import time; time.sleep(60)") == ("cpu",)


def test_probe_names_only_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    if devices.has_driver():
        pytest.skip("there may be a GPU")
    monkeypatch.setattr(devices, "has_driver", lambda: True)
    assert asyncio.run(devices.devices((), PROBE)) == ("cpu",)
