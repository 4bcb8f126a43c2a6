"""What a finished run says of itself: all that decided its weights, and how good they are.

`tests/workers/training/test_history.py` reads the first form.
"""

from typing import Literal

import msgspec

from chimera.schemas.versioned import Form

MANIFEST_VERSION = 1


class Drift(msgspec.Struct, frozen=True):
    """One column against an earlier data set."""

    column: str
    test: Literal["ks", "chi2"]
    p_value: float
    psi: float
    mean_delta: float  # in the earlier one's standard deviations
    std_ratio: float
    is_drift: bool


class Interval(msgspec.Struct, frozen=True):
    """At 95 %."""

    low: float
    high: float


class SliceMetrics(msgspec.Struct, frozen=True):
    rows: int
    metrics: dict[str, float]


class TrainingManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Of one run."""

    run_id: str
    name: str  # of the model
    version: str | None = None  # that the run was registered as
    config_hash: str
    dataset_digest: str
    is_synthetic: bool = False
    rows: dict[str, int]  # train, validation, quarantined
    metrics: dict[str, float]  # of the rows held out; train_loss, data_mean, data_std as well
    intervals: dict[str, Interval] = {}
    slices: dict[str, SliceMetrics] = {}
    checkpoint_path: str
    weights_sha256: str
    drift_from_previous: tuple[Drift, ...] = ()
    previous_run_id: str | None = None
    is_deterministic: bool
    seed: int
    device: str
    threads: int
    processes: int = 1
    code_version: str
    packages: dict[str, str]
    started_ms: int
    duration_s: float
    epochs: int
    updates: int
    nonfinite: int = 0
    v: int = MANIFEST_VERSION


_FORM = Form[TrainingManifest]("training manifest", TrainingManifest, MANIFEST_VERSION)
encode_manifest = _FORM.encode
decode_manifest = _FORM.decode
