from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import pytest

from chimera.schemas.compile_report import TierReport
from chimera.schemas.manifest import File, Manifest, TensorSpec
from chimera.stores.registry.records import Version
from chimera.stores.registry.reports import row_of

SOURCE, GRAPH, NOTE = File("a" * 64, 10), File("b" * 64, 20), File("c" * 64, 900)
MANIFEST = Manifest(
    "m", "1", (TensorSpec("x", "FP32", (-1,)),), (TensorSpec("y", "FP32", (-1,)),), "a" * 64
)
VERSION = Version(
    uuid4(), "m", "1", b"", MANIFEST, "a" * 64, {"model.onnx": SOURCE}, datetime.now(UTC), "me"
)


def report(tier: str, verdict: str, **files: File) -> TierReport:
    named = {name.replace("_", "."): file for name, file in files.items()}
    return TierReport(tier, "fp32", verdict, files=named)  # type: ignore[arg-type]  # one of them


def test_row_has_the_digest_of_the_file_that_its_tier_runs() -> None:
    row = row_of(report("onnx-cpu", "verified", graph_onnx=GRAPH, note_txt=NOTE), VERSION, {})
    assert (row.verdict, row.sha256, row.size_bytes) == ("verified", GRAPH.sha256, 20)


def test_tier_that_is_not_compiled_runs_the_source() -> None:
    row = row_of(report("torch-cpu", "verified"), VERSION, {})
    assert (row.sha256, row.size_bytes) == (SOURCE.sha256, 10)


@pytest.mark.parametrize(
    ("verdict", "kept"), [("rejected", "refused"), ("failed", "refused"), ("skipped", "skipped")]
)
def test_tier_that_may_not_serve_has_no_file(verdict: str, kept: str) -> None:
    row = row_of(report("onnx-cpu", verdict, graph_onnx=GRAPH), VERSION, {})
    assert (row.verdict, row.sha256) == (kept, None)


def test_report_stands_in_the_row_beside_what_is_told_of_it() -> None:
    given = report("onnx-cpu", "verified", graph_onnx=GRAPH)
    row = row_of(given, VERSION, {"machine": {"cpu": "x"}})
    assert msgspec.convert(row.report, TierReport, str_keys=True) == given
    assert row.report["machine"] == {"cpu": "x"}
