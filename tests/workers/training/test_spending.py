"""Time and energy add up over attempts; counters begin again, and those that nobody may read tell nothing."""

import time
from pathlib import Path

import pytest

from chimera.workers.training import spending
from chimera.workers.training.spending import Spending

RANGE = 262_143_328_850


def zone(powercap: Path, name: str, kind: str, microjoules: int) -> Path:
    folder = powercap / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"


def test_packages_add_up_and_their_parts_do_not(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 10_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", RANGE - 999_999)
    part = zone(tmp_path, "intel-rapl:0:0", "core", 0)
    whole = zone(tmp_path, "intel-rapl:2", "psys", 0)
    spent = Spending(tmp_path)
    first.write_text("13500000")
    second.write_text("2000000")  # it began again
    for other in (part, whole):
        other.write_text("900000000")
    assert spent.told()["energy_j"] == pytest.approx(3.5 + 3.0)


def test_counter_that_begins_again_while_nobody_asks_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "LOOK_EVERY_S", 0.01)
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    with Spending(tmp_path) as spent:
        for at in (RANGE - 1_000_000, 1_000_000):
            counter.write_text(str(at))
            before_j = spent.seen_j
            while spent.seen_j == before_j:
                time.sleep(0.01)
    assert spent.seen_j == pytest.approx((RANGE + 1_000_001) / 1e6)


def test_attempt_goes_on_from_the_one_before(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    spent = Spending(tmp_path)
    spent.go_on(started_ms=7, elapsed_s=100.0, energy_j=50.0)
    counter.write_text("1000000")
    told = spent.told()
    assert (told["started_ms"], told["energy_j"]) == (7, 51.0)
    assert 100 <= told["elapsed_s"]
    spent.go_on(started_ms=7, elapsed_s=100.0, energy_j=None)
    assert spent.told()["energy_j"] is None


def test_machine_that_tells_nothing_has_time_alone(tmp_path: Path) -> None:
    with Spending(tmp_path / "none") as spent:
        told = spent.told()
    assert told["energy_j"] is None
    assert told["elapsed_s"] >= 0
    (zone(tmp_path, "intel-rapl:0", "package-0", 0)).unlink()
    assert Spending(tmp_path).told()["energy_j"] is None
