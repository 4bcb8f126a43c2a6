"""What the registry keeps of a compile report: a row for each tier, and why it may serve or not.

A row's digest is that of the file that its tier runs, or of the version's source where nothing is
compiled; the tier's report stands in the row whole, and names the other files.
`tests/stores/registry/test_reports.py`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from chimera.schemas import compile_report
from chimera.schemas.compile_report import TierReport
from chimera.schemas.manifest import File
from chimera.schemas.tiers import BY_NAME
from chimera.stores.registry.records import Artifact, Verdict, Version

VERDICTS: dict[compile_report.Verdict, Verdict] = {
    "verified": "verified",
    "rejected": "refused",
    "failed": "refused",
    "skipped": "skipped",
}


def row_of(report: TierReport, version: Version, about: Mapping[str, Any]) -> Artifact:
    """The row of one tier; `about` goes beside its report."""
    file: File | None = None
    if report.verdict == "verified":
        own = BY_NAME[report.tier].file
        file = report.files[own] if own else version.files[version.manifest.source]
    said: dict[str, Any] = {**msgspec.to_builtins(report, str_keys=True), **about}
    return Artifact(
        report.tier,
        report.precision,
        report.target,
        VERDICTS[report.verdict],
        report.reason,
        None if file is None else file.sha256,
        None if file is None else file.size_bytes,
        said,
    )
