"""The whole way on a processor: a version in, artifacts and a report out; damage is caught."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load as load_arrays

from chimera.schemas.compile_report import CompileReport, Step, TierReport, decode
from chimera.schemas.errors import ModelRefused
from chimera.schemas.model_settings import CompilingSettings
from chimera.schemas.tiers import BY_NAME, TIERS
from chimera.workers.aside import BESIDE
from chimera.workers.backends.opening import Artifact, Place, check_files, open_artifact
from chimera.workers.compiling import recipes
from chimera.workers.compiling.__main__ import main
from chimera.workers.compiling.pipeline import Targets, compile, prepare
from chimera.workers.compiling.source import read_source
from chimera.workers.devices import has_driver
from chimera.workers.models import write_model
from chimera.workers.verification.cases import NAN, sizes
from chimera.workers.verification.tolerances import TOLERANCES
from chimera.workers.verification.verdicts import Expected, expect, judge
from tests.workers.compiling import damage, two_heads
from tests.workers.rig import manifest as manifest_of_sums
from tests.workers.rig import sums

pytestmark = pytest.mark.timeout(300)  # a C++ compiler's half minute, on a busy machine

SETTINGS = CompilingSettings(batch_sizes=(1, 8), measure_s=0.02, int8=True)
PLACE = Place("cpu", 1, two_heads.ALLOWED)
TARGETS = Targets(threads=1, definitions=two_heads.ALLOWED)


class Made:
    """One compilation that the tests of this module share: tier 8 takes its time."""

    def __init__(self, folder: Path) -> None:
        self.version = two_heads.write(folder / "models")
        self.out = folder / "out"
        self.steps: list[Step] = []
        self.report = compile(self.version, TARGETS, self.out, SETTINGS, self.steps.append)
        self.source = read_source(self.version)
        self.expected = self._expect()

    def _expect(self) -> Expected:
        workshop = prepare(self.version, TARGETS, SETTINGS)
        artifact = Artifact(
            self.source.manifest, "torch-cpu", "fp32", self.out, self.source.content
        )
        cases = self.source.cases(sizes(workshop.max_rows, workshop.buckets))
        return expect(self.source.manifest, open_artifact(artifact, PLACE), cases)

    def tier(self, variant: str) -> TierReport:
        return next(one for one in self.report.tiers if one.variant == variant)

    def copy(self, variant: str, folder: Path) -> Artifact:
        """A variant's files, for a test to damage."""
        one = self.tier(variant)
        target = folder / variant
        if one.files:
            shutil.copytree(self.out / variant, target)
        source = self.source
        return Artifact(source.manifest, one.tier, one.precision, target, source.content)

    def reason(self, artifact: Artifact) -> str:
        """Why it is rejected; empty: it is not."""
        backend = open_artifact(artifact, PLACE)
        return judge(backend, self.expected, TOLERANCES[artifact.precision]).reason


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("compiled"))


def test_report_has_all_nine_tiers_in_their_order(made: Made) -> None:
    found = list(dict.fromkeys(one.tier for one in made.report.tiers))
    assert found == [tier.name for tier in TIERS]


def test_tiers_of_the_processor_are_verified(made: Made) -> None:
    verdicts = {one.variant: (one.verdict, one.reason) for one in made.report.tiers}
    for variant in ("onnx-cpu", "torch-compiled-cpu", "torch-cpu"):
        assert verdicts[variant] == ("verified", "")


def test_int8_that_answers_numbers_to_nan_is_rejected_and_leaves_no_file(made: Made) -> None:
    int8 = made.tier("onnx-cpu-int8")
    assert int8.verdict == "rejected"
    assert int8.reason.startswith("nan@")
    assert int8.files == {}
    assert not (made.out / "onnx-cpu-int8").exists()


def test_tiers_of_a_gpu_are_skipped_with_the_reason(made: Made) -> None:
    if has_driver():
        pytest.skip("there may be a GPU")
    for one in made.report.tiers[:6]:
        assert (one.verdict, one.reason) == ("skipped", "no GPU cuda:0")


def test_files_are_those_that_the_report_names(made: Made) -> None:
    for one in made.report.tiers:
        if one.files:
            check_files(made.out / one.variant, one.files)
    assert {one.variant: set(one.files) for one in made.report.tiers if one.files} == {
        "onnx-cpu": {"graph.onnx"},
        "torch-compiled-cpu": {"package.pt2"},
    }


def test_changed_file_is_noticed_before_it_is_loaded(made: Made, tmp_path: Path) -> None:
    artifact = made.copy("onnx-cpu", tmp_path)
    damage.graph(artifact.folder, damage.perturb_graph)
    with pytest.raises(ModelRefused, match="not the file that was verified"):
        check_files(artifact.folder, made.tier("onnx-cpu").files)


def test_timings_stand_apart_for_each_batch_size(made: Made) -> None:
    for variant in ("onnx-cpu", "torch-compiled-cpu", "torch-cpu"):
        timings = made.tier(variant).timings
        assert timings is not None
        assert [one.rows for one in timings.steady] == [1, 8]
        assert all(one.runs > 1 and 0 < one.p50_ms <= one.p99_ms for one in timings.steady)
        assert timings.load_ms > 0 < timings.first_ms <= timings.warm_up_ms
        assert (timings.compile_s > 0.1) == (variant != "torch-cpu")
        assert set(timings.pays_after) == ({1, 8} if variant != "torch-cpu" else set())


def test_every_batch_size_that_is_measured_was_verified(made: Made) -> None:
    for one in made.report.tiers:
        if one.verdict == "verified":
            assert {check.rows for check in one.checks} == {1, 8, 15, 16}
            assert {check.case for check in one.checks} == {
                "samples", "zeros", "large", "denormal", "nan",
            }  # fmt: skip


def test_report_in_the_folder_is_the_one_returned(made: Made) -> None:
    raw = (made.out / "report.json").read_bytes()
    assert decode(raw, "report.json") == made.report
    assert (made.report.model, made.report.version) == ("heads", "1")
    assert made.report.sha256 == made.source.manifest.sha256


def test_progress_tells_each_stage_and_each_verdict(made: Made) -> None:
    stages = [step.stage for step in made.steps if step.variant == "torch-compiled-cpu"]
    assert stages == ["making", "loading", "warming", "verifying", "verified"]
    told = {step.variant for step in made.steps if step.stage == "skipped"}
    assert told == {one.variant for one in made.report.tiers if one.verdict == "skipped"}


@pytest.mark.parametrize("what", list(damage.STATES))
def test_damaged_weights_of_the_eager_tier_are_caught(made: Made, what: str) -> None:
    content = damage.weights(made.source.content, damage.STATES[what])
    artifact = Artifact(made.source.manifest, "torch-cpu", "fp32", made.out, content)
    assert made.reason(artifact) != ""


@pytest.mark.parametrize("what", list(damage.STATES))
def test_damaged_package_is_caught(made: Made, what: str, tmp_path: Path) -> None:
    artifact = made.copy("torch-compiled-cpu", tmp_path)
    old = load_arrays(made.source.content)
    new = load_arrays(damage.weights(made.source.content, damage.STATES[what]))
    changed = {name for name in old if not np.array_equal(old[name], new[name])}
    damage.package(
        artifact.folder,
        {name: old[name] for name in changed},
        {name: new[name] for name in changed},
    )
    assert made.reason(artifact) != ""


@pytest.mark.parametrize("what", list(damage.GRAPHS))
def test_damaged_graph_is_caught(made: Made, what: str, tmp_path: Path) -> None:
    artifact = made.copy("onnx-cpu", tmp_path)
    damage.graph(artifact.folder, damage.GRAPHS[what])
    reason = made.reason(artifact)
    assert reason.startswith("samples@8:" if what == "one batch size" else "samples@")


@pytest.fixture(scope="module")
def int8(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """As it is made where it may be verified: of this model alone it is rejected, for its NaN."""
    folder = tmp_path_factory.mktemp("int8")
    recipes.make(BY_NAME["onnx-cpu"], "int8", prepare(made.version, TARGETS, SETTINGS), folder)
    source = made.source
    return Artifact(source.manifest, "onnx-cpu", "int8", folder, source.content)


@pytest.mark.parametrize("what", ["nothing", *damage.GRAPHS])
def test_damaged_int8_is_caught_and_a_sound_one_is_not(
    made: Made, int8: Artifact, what: str, tmp_path: Path
) -> None:
    artifact = replace(int8, folder=tmp_path / "int8")
    shutil.copytree(int8.folder, artifact.folder)
    if what != "nothing":
        damage.graph(artifact.folder, damage.GRAPHS[what])
    answers = tuple(one for one in made.expected.answers if one[0].name != NAN)
    numbers = replace(made.expected, answers=answers)
    reason = judge(open_artifact(artifact, PLACE), numbers, TOLERANCES["int8"]).reason
    assert reason.startswith("samples@") == (what != "nothing"), reason


def test_sound_copies_are_not_rejected(made: Made, tmp_path: Path) -> None:
    for variant in ("onnx-cpu", "torch-compiled-cpu", "torch-cpu"):
        assert made.reason(made.copy(variant, tmp_path)) == ""


def test_artifact_of_the_torch_tiers_names_its_variant(made: Made, tmp_path: Path) -> None:
    for variant in ("onnx-cpu", "torch-compiled-cpu", "torch-cpu"):
        assert open_artifact(made.copy(variant, tmp_path), PLACE).tier == variant


def test_file_that_is_no_package_is_refused(made: Made, tmp_path: Path) -> None:
    artifact = made.copy("torch-compiled-cpu", tmp_path)
    (artifact.folder / "package.pt2").write_bytes(b"no package")
    with pytest.raises(ModelRefused):
        open_artifact(artifact, PLACE)


def compiled_sums(folder: Path, tiers: tuple[str, ...] = ()) -> CompileReport:
    version = write_model(folder / "models", sums(), manifest_of_sums("sums"))
    return compile(version, replace(TARGETS, tiers=tiers), folder / "out", SETTINGS)


def test_version_that_is_a_graph_is_compared_with_that_graph(tmp_path: Path) -> None:
    report = compiled_sums(tmp_path)
    assert report.reference == "onnx-cpu-plain"
    by_name = {one.variant: one for one in report.tiers}
    assert by_name["onnx-cpu"].verdict == "verified"
    for name in ("torch-compiled-cpu", "torch-cpu"):
        assert (by_name[name].verdict, by_name[name].reason) == ("skipped", "no torch definition")


def test_tiers_not_asked_for_say_so(tmp_path: Path) -> None:
    report = compiled_sums(tmp_path, ("onnx-cpu",))
    asked = {one.tier: one.reason for one in report.tiers if one.reason == "not asked for"}
    assert len(asked) == 8
    assert "onnx-cpu" not in asked


def test_module_that_cannot_be_captured_fails_alone(tmp_path: Path) -> None:
    manifest = two_heads.manifest(
        "branches",
        definition="tests.workers.compiling.two_heads:Branches",
        outputs=two_heads.manifest().outputs[:1],
    )
    content = two_heads.weights(two_heads.Branches())
    version = write_model(
        tmp_path / "models", content, manifest, {"samples.safetensors": two_heads.samples()}
    )
    report = compile(version, TARGETS, tmp_path / "out", SETTINGS)
    verdicts = {one.variant: one.verdict for one in report.tiers[6:]}
    assert verdicts == {
        "onnx-cpu": "failed",
        "onnx-cpu-int8": "failed",
        "torch-compiled-cpu": "failed",
        "torch-cpu": "verified",
    }
    assert all("torch.export" in one.reason for one in report.tiers[6:9])


def test_process_of_its_own_tells_steps_and_leaves_a_report(tmp_path: Path) -> None:
    version = write_model(tmp_path / "models", sums(), manifest_of_sums("sums"))
    command = [sys.executable, "-P", "-m", "chimera.workers.compiling"]
    with subprocess.Popen(
        [*command, str(version), str(tmp_path / "out"), "onnx-cpu"],
        stdout=subprocess.PIPE,
        env={"CHIMERA_COMPILING__MEASURE_S": "0.02", "PATH": ""},
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        niceness = os.getpriority(os.PRIO_PROCESS, process.pid)
        lines = [first, *process.stdout]
        assert process.wait() == 0
    assert niceness == min(19, os.nice(0) + BESIDE), "it gives way to lanes"
    steps = [json.loads(line) for line in lines]
    assert ("onnx-cpu", "verified") in {(step["variant"], step["stage"]) for step in steps}
    assert decode((tmp_path / "out" / "report.json").read_bytes(), "report").model == "sums"


def test_process_of_its_own_says_why_a_version_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = write_model(tmp_path / "models", sums(), manifest_of_sums("sums"))
    (version / "model.onnx").write_bytes(b"another")
    assert main([str(version), str(tmp_path / "out")]) == 1
    assert "SHA-256" in capsys.readouterr().err
