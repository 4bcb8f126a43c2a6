"""`chimera models`: what an operator reads while tiers are made, and afterwards."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.cli.models.tier_table import chosen
from chimera.schemas.compile_report import REPORT_FILE, decode, encode
from chimera.workers.models import write_model
from tests.schemas.test_compile_report import REPORT
from tests.workers.rig import manifest, sums


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIMERA_COMPILING__MEASURE_S", "0.02")


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return write_model(tmp_path / "models", sums(), manifest("sums"))


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """A folder with a report, as compile leaves it."""
    (tmp_path / REPORT_FILE).write_bytes(encode(REPORT))
    return tmp_path


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["models", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_compile_tells_its_progress_then_the_table(version: Path, tmp_path: Path) -> None:
    status, out, _ = run("compile", version, "--out", tmp_path / "out")
    assert status == 0
    for stage in ("making", "loading", "warming", "verifying", "verified"):
        assert f"onnx-cpu: {stage}\n" in out
    assert "torch-cpu: skipped: no torch definition" in out
    row = next(line for line in out.splitlines() if line.split()[:2] == ["onnx-cpu", "fp32"])
    assert row.rstrip().endswith("verified")
    assert "p50/p99 ms @256" in out
    report = decode((tmp_path / "out" / REPORT_FILE).read_bytes(), "report")
    assert f"batch 1: {report.tiers[6].tier}" in out


def test_compile_of_named_tiers_makes_no_other(version: Path, tmp_path: Path) -> None:
    status, out, _ = run(
        "compile", version, "--out", tmp_path / "out", "--tiers", "onnx-cpu, torch-cpu"
    )
    assert status == 0
    assert "torch-compiled-cpu: skipped: not asked for" in out


def test_compile_that_verifies_nothing_says_so_by_its_status(version: Path, tmp_path: Path) -> None:
    assert run("compile", version, "--out", tmp_path, "--tiers", "torch-cpu")[0] == 1


def test_compile_of_a_tier_that_is_none_names_those_there_are(version: Path) -> None:
    status, _, error = run("compile", version, "--tiers", "abacus")
    assert status == 2
    assert "abacus" in error


def test_compile_of_a_version_that_is_refused_says_why(version: Path, tmp_path: Path) -> None:
    (version / "model.onnx").write_bytes(b"other")
    status, _, error = run("compile", version, "--out", tmp_path / "out")
    assert status == 1
    assert error.startswith("chimera models: ")
    assert "SHA-256" in error


def test_bench_shows_a_report_and_draws_it(compiled: Path) -> None:
    status, out, _ = run("bench", compiled)
    assert status == 0
    assert "0.010/0.020" in out
    assert "rejected: zeros@1: it raised" in out
    assert "not verified on nan@1" in out
    picture = (compiled / "tiers.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 5_000


def test_bench_takes_the_report_itself_and_a_place_for_the_plot(compiled: Path) -> None:
    picture = compiled / "elsewhere.png"
    assert run("bench", compiled / REPORT_FILE, "--plot", picture)[0] == 0
    assert picture.exists()


def test_bench_without_a_report_says_what_makes_one(tmp_path: Path) -> None:
    status, _, error = run("bench", tmp_path)
    assert status == 1
    assert "chimera models compile" in error


def test_bench_without_matplotlib_names_the_extra(
    compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "chimera.cli.models.tier_plot", None)
    status, out, error = run("bench", compiled)
    assert status == 1
    assert "0.010/0.020" in out
    assert "chimera-stream[plot]" in error


def test_choice_is_told_for_each_batch_size() -> None:
    assert chosen(REPORT, [1, 32]) == ["batch 1: onnx-cpu", "batch 32: onnx-cpu"]
