"""The public way in: hostile folders are refused with their reason, good ones come back complete."""

import hashlib
import resource
import signal
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from safetensors.numpy import save

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ConfigurationError, ModelRefused, SignatureInvalid
from chimera.schemas.manifest import File
from chimera.schemas.settings import Settings
from chimera.schemas.signing import Kind, SigningKey
from chimera.workers.inspection import inspector
from chimera.workers.inspection.inspector import inspect
from chimera.workers.inspection.rules import Rules, rules
from tests.workers.hostile_changes import DEFINITION, good, put, saying, zipped
from tests.workers.hostile_files import CORPUS, KEY, RULES, STRANGER, Case


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return good(tmp_path / "upload")


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_hostile_folder_is_refused_with_its_reason(case: Case, tmp_path: Path) -> None:
    folder = good(tmp_path / "upload", weights=case.weights)
    case.change(folder)
    before_s = _children_s()
    with pytest.raises(ModelRefused) as caught:
        inspect(folder, RULES)
    assert _children_s() - before_s < 2, "seconds of a processor, however busy it is"
    assert case.reason in str(caught.value)
    assert str(folder) in str(caught.value) or "CHIMERA_" in str(caught.value)
    assert not list(Path.cwd().glob("chimera-was-here"))


def test_good_folder_comes_back_with_every_digest(folder: Path) -> None:
    put(folder / "labels.json", b'["a", "b"]')
    found = inspect(folder, RULES)
    expected = {
        path.name: File(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }
    assert found.files == expected
    assert found.files.keys() == {"model.onnx", "samples.safetensors", "labels.json"}
    assert found.sha256 == expected["model.onnx"].sha256


def test_weights_with_a_definition_on_the_list_pass(tmp_path: Path) -> None:
    found = inspect(good(tmp_path / "upload", weights=True), RULES)
    assert (found.definition, found.source) == (DEFINITION, "model.safetensors")


def test_weights_are_refused_where_no_definition_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="CHIMERA_ARTIFACTS__DEFINITIONS"):
        inspect(good(tmp_path / "upload", weights=True), Rules())


def test_list_of_definitions_that_is_none_is_the_operators_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'tests.*'"):
        inspect(good(tmp_path / "upload", weights=True), Rules(definitions=("tests.*",)))


def test_inspected_manifest_passes_again(folder: Path) -> None:
    complete = inspect(folder, RULES)
    put(folder / "manifest.json", manifests.encode(complete))
    put(folder / "manifest.sig", b"of an earlier packing")
    assert inspect(folder, RULES) == complete


def test_file_that_the_complete_manifest_does_not_name_is_refused(folder: Path) -> None:
    put(folder / "manifest.json", manifests.encode(inspect(folder, RULES)))
    put(folder / "labels.json", b"{}")
    with pytest.raises(ModelRefused, match="labels.json: is not the file"):
        inspect(folder, RULES)


def test_program_that_we_signed_passes(folder: Path) -> None:
    program = zipped(archive__data_dot_pkl=b"cos\nsystem\n.")
    put(folder / "model.pt2", program)
    signature = KEY.sign(Kind.PROGRAM, hashlib.sha256(program).digest())
    put(folder / "model.pt2.sig", f"{signature}\n".encode())
    assert inspect(folder, RULES).files.keys() >= {"model.pt2", "model.pt2.sig"}


@pytest.mark.parametrize(
    ("kind", "key"), [(Kind.MANIFEST, KEY), (Kind.PROGRAM, STRANGER)], ids=["kind", "key"]
)
def test_program_with_another_signature_is_refused(
    folder: Path, kind: Kind, key: SigningKey
) -> None:
    put(folder / "model.pt2", b"program")
    signature = key.sign(kind, hashlib.sha256(b"program").digest())
    put(folder / "model.pt2.sig", signature.encode())
    with pytest.raises(SignatureInvalid):
        inspect(folder, RULES)


def test_operator_of_a_domain_on_the_list_passes(folder: Path) -> None:
    model = onnx.ModelProto.FromString((folder / "model.onnx").read_bytes())
    model.graph.node.append(helper.make_node("Gelu", ["x"], ["z"], domain="com.microsoft"))
    put(folder / "model.onnx", model.SerializeToString())
    with pytest.raises(ModelRefused, match="com.microsoft.Gelu"):
        inspect(folder, RULES)
    assert inspect(folder, Rules(operator_domains=("com.microsoft",))).source == "model.onnx"


def test_samples_may_have_any_number_of_rows(folder: Path) -> None:
    put(folder / "samples.safetensors", save({"x": np.zeros((1_000, 2), "f4")}))
    size_bytes = (folder / "samples.safetensors").stat().st_size
    assert inspect(folder, RULES).files["samples.safetensors"].size_bytes == size_bytes


def test_folder_that_is_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    with pytest.raises(ModelRefused, match="folder cannot be read"):
        inspect(tmp_path / "link", RULES)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="No such file"):
        inspect(tmp_path / "nothing", RULES)


@pytest.mark.parametrize(
    ("code", "clock_times", "limits", "told"),
    [
        ("while True: pass", 60, {"cpu_s": 1}, "more processor time"),
        ("import time; time.sleep(60)", 1, {"cpu_s": 1}, "took 1 s"),
        ("x = bytearray(1 << 30)", 4, {"memory_bytes": 1 << 28}, "status 1: MemoryError"),
    ],
    ids=["processor", "clock", "memory"],
)
def test_inspection_over_its_limits_is_a_refusal(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    clock_times: int,
    limits: dict[str, int],
    told: str,
) -> None:
    _replace_inspection(monkeypatch, code)
    monkeypatch.setattr(inspector, "CLOCK_TIMES", clock_times)
    with pytest.raises(ModelRefused, match=told):
        inspect(folder, Rules(**limits))  # type: ignore[arg-type]  # numbers, by their names


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_inspection_that_is_brought_down_is_a_refusal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    _replace_inspection(monkeypatch, f"import os; os.kill(os.getpid(), {number.value})")
    with pytest.raises(ModelRefused, match=number.name):
        inspect(folder, RULES)


@pytest.mark.parametrize(
    "answer", ["", "{", '{"manifest": "{}"}', '{"error": "OSError", "reason": "x"}', "z" * 10_000]
)
def test_inspection_that_lies_is_a_refusal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    _replace_inspection(monkeypatch, f"print({answer!r})")
    with pytest.raises(ModelRefused):
        inspect(folder, RULES)


def test_inspection_that_answers_without_end_is_a_refusal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _replace_inspection(monkeypatch, "import sys\nwhile True: sys.stdout.write('z' * 1000)")
    with pytest.raises(ModelRefused, match=r"SIGXFSZ|File too large"):
        inspect(folder, RULES)


def test_inspection_sees_none_of_our_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHIMERA_KEYS__SIGNING", "open sesame")
    shown = "import os, json, sys; sys.exit(json.dumps(dict(os.environ)))"
    _replace_inspection(monkeypatch, shown)
    with pytest.raises(ModelRefused) as caught:
        inspect(folder, RULES)
    assert "OPENBLAS" in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_rules_are_those_of_the_settings() -> None:
    settings = Settings().artifacts
    found = rules(settings, [KEY.public])
    assert found == Rules(definitions=settings.definitions, trusted=(KEY.public.text,))
    assert {field: getattr(found, field) for field in ("max_graph_nodes", "max_tensors")} == {
        "max_graph_nodes": settings.max_graph_nodes,
        "max_tensors": settings.max_tensors,
    }


def test_manifest_of_a_person_may_leave_the_digest_at_zeros(folder: Path) -> None:
    saying(sha256="0" * 64)(folder)
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert inspect(folder, RULES).sha256 == digest


def _children_s() -> float:
    """What processes of ours that have ended took of a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _replace_inspection(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """The same confinement, then something else: what a library might be made to do."""
    code = (
        "import sys\nfrom chimera.workers.inspection.confinement import confine\n"
        f"confine(*map(int, sys.argv[1:4]))\n{body}"
    )
    monkeypatch.setattr(inspector, "ENTRY", (sys.executable, "-I", "-c", code))
