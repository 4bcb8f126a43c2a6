"""The benchmarks of sink and sequencer, tiny: the spine has turns in the same rounds, and the ratio is theirs."""

from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from benchmarks import machine, model, sequencing, sinks, tables
from benchmarks.broker import Broker
from benchmarks.environments import ROOT
from benchmarks.sitting import Sitting, ratio

SPINE = 2_000
ROWS = 20_000


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def sitting(
    kafka: str, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> Sitting:
    monkeypatch.setattr("benchmarks.sitting.WARM_UP_TURNS", 0)  # figures so small mean nothing
    model.write(tmp_path / "models")
    return Sitting(Broker(kafka), tmp_path / "models", tmp_path, 2, said.append)


def shown(report: dict[str, Any]) -> str:
    """As it stands after `--json FILE`."""
    page = StringIO()
    tables.show(orjson.loads(orjson.dumps(report)), Console(file=page))
    return page.getvalue()


def turns(said: list[str]) -> list[str]:
    return [one.partition(": ")[2] for one in said if one.startswith("round ")]


def test_sink_is_compared_with_exactly_once_of_its_rounds_with_commitments_and_without(
    sitting: Sitting, said: list[str]
) -> None:
    found = sinks.run(sitting, rows=ROWS, requests=SPINE, executors=1, rate=200, seconds=1)
    both = [sinks.KEYED, sinks.PLAIN]
    assert turns(said) == ["exactly_once", *both, *both, "exactly_once"]
    rates = [one["rps"] for one in found["raw"]["exactly_once"]]
    assert all(one["lost"] == 0 for one in found["raw"]["exactly_once"])
    for name in both:
        rows = [one["rows_per_s"] for one in found["raw"][name]]
        assert found["ratios"][f"{name} / exactly_once"] == ratio(rows, rates)
    assert found["to_spine"] == found["ratios"][f"{sinks.KEYED} / exactly_once"]["of_medians"]
    size, plain = (found[f"bytes_a_row{one}"]["inference_log"] for one in ("", "_no_commitments"))
    assert size > plain + 60
    assert found["visible_ms"]["p50"] > 0
    assert f"{found['to_spine']:.2f} (" in shown(found)
    assert not sitting.broker.names("bench-")


def test_sequencer_is_compared_with_the_better_guarantee_of_its_rounds(
    sitting: Sitting, said: list[str]
) -> None:
    found = sequencing.run(sitting, leaves=ROWS, requests=SPINE, executors=1, verified=2_000)
    three = ["exactly_once", "at_least_once", "sequencer"]
    assert turns(said) == [*three, *three[1:], three[0]]
    leaves = [one["leaves_s"] for one in found["raw"]["sequencer"]]
    against = {name: [one["rps"] for one in found["raw"][name]] for name in three[:2]}
    ratios = {f"sequencer / {name}": ratio(leaves, rates) for name, rates in against.items()}
    assert found["ratios"] == ratios
    assert found["to_spine"] == min(one["of_medians"] for one in ratios.values())
    assert found["spine_rps"] == max(map(sum, against.values())) / 2
    assert f"{found['to_spine']:.2f} (" in shown(found)
    assert not sitting.broker.names("bench-")


def test_ratio_is_of_medians_and_of_single_rounds() -> None:
    assert ratio([6.0, 8.0, 1.0], [2.0, 1.0, 4.0]) == {"of_medians": 3.0, "rounds": [0.25, 8.0]}
    assert ratio([6.0], [0.0]) == {"of_medians": None, "rounds": []}


@pytest.mark.parametrize("name", ["audit", "sinks", "sinks-waiting"])
def test_report_from_before_is_shown(name: str) -> None:
    report = orjson.loads((ROOT / "docs" / "results" / f"{name}.json").read_bytes())
    assert machine.headline(report["machine"]) in shown(report)
