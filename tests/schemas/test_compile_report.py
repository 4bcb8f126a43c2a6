"""Reports of every version stay readable; what a release writes is what the golden file has."""

from pathlib import Path

import msgspec
import pytest

from chimera.schemas.compile_report import (
    Check,
    CompileReport,
    Errors,
    Steady,
    TierReport,
    Timings,
    Tolerance,
    decode,
    encode,
    variant,
)
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import File

GOLDEN = Path(__file__).with_name("compile_report_v1.json")

REPORT = CompileReport(
    model="digits",
    version="3",
    sha256="ab" * 32,
    reference="torch-cpu",
    made_at_ms=1_760_000_000_123,
    took_s=41.5,
    machine={"processor": "any", "cores": "2"},
    max_rows=256,
    tiers=(
        TierReport("tensorrt-fp16", "fp16", "skipped", "no GPU cuda:0"),
        TierReport(
            "onnx-cpu",
            "fp32",
            "verified",
            target="cpu-0123456789abcdef",
            files={"graph.onnx": File("cd" * 32, 1234)},
            tolerance=Tolerance(2e-5, 1e-3, 0.99999, 0.999, "close"),
            checks=(Check("samples", 1, Errors(1e-7, 2e-6, 1.0, 1.0, 0)),),
            timings=Timings(
                3.5,
                1.25,
                0.5,
                7.0,
                (Steady(1, 1000, 0.01, 0.02), Steady(32, 500, 0.02, 0.03)),
                {1: 4000, 32: None},
            ),
        ),
        TierReport(
            "onnx-cpu",
            "int8",
            "rejected",
            "zeros@1: it raised",
            checks=(Check("zeros", 1, None, "it raised"),),
        ),
    ),
    left_out={"nan@1": "the reference does not pass NaN on"},
)


def test_report_is_written_as_the_golden_file_has_it() -> None:
    assert encode(REPORT) == GOLDEN.read_bytes()


def test_golden_file_is_read_as_it_was_meant() -> None:
    assert decode(GOLDEN.read_bytes(), "golden") == REPORT


def test_field_that_is_not_known_is_ignored() -> None:
    fields = msgspec.json.decode(encode(REPORT)) | {"later": 1}
    assert decode(msgspec.json.encode(fields), "later") == REPORT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 2}, "v is 2"),
        ({"tiers": [{"tier": "abacus", "precision": "fp32", "verdict": "verified"}]}, "abacus"),
        ({"tiers": [{"tier": "onnx-cpu", "precision": "fp7", "verdict": "verified"}]}, "fp7"),
        ({"tiers": [{"tier": "onnx-cpu", "precision": "fp32", "verdict": "fine"}]}, "fine"),
        ({"max_rows": 0}, "max_rows"),
    ],
)
def test_wrong_report_is_refused_by_its_path(change: dict[str, object], reason: str) -> None:
    fields = msgspec.json.decode(encode(REPORT)) | change
    with pytest.raises(ModelRefused, match=rf"^here: .*{reason}"):
        decode(msgspec.json.encode(fields), "here")


def test_report_that_is_no_json_is_refused() -> None:
    for raw in (b"", b"\xff", b"[" * 100_000):
        with pytest.raises(ModelRefused, match="^here"):
            decode(raw, "here")


def test_variant_names_the_precision_where_it_is_not_the_tiers_own() -> None:
    assert variant("onnx-cpu", "fp32") == "onnx-cpu"
    assert variant("onnx-cpu", "int8") == "onnx-cpu-int8"
    assert variant("tensorrt-fp16", "fp16") == "tensorrt-fp16"
