"""What a finished run says of itself: all that decided its weights, and how good they are.

It names its weights by SHA-256 and carries its own signature, which is over everything else in it.
`tests/workers/training/test_history.py` reads the first form.
"""

from typing import Any, Literal

import msgspec
import rfc8785

from chimera.schemas.signing import Kind, PublicKey, SigningKey, Trusted
from chimera.schemas.versioned import Form

MANIFEST_VERSION = 1


class Drift(msgspec.Struct, frozen=True):
    """One column against an earlier data set."""

    column: str
    test: Literal[
        "ks", "chi2", "appeared", "vanished"
    ]  # the last two: one of them has no such column
    p_value: float
    psi: float
    mean_delta: float  # in the earlier one's standard deviations
    std_ratio: float
    is_drift: bool


class Interval(msgspec.Struct, frozen=True):
    """At 95 %."""

    low: float
    high: float


class SliceMetrics(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of rows of one value; one without intervals is written as it was before there were any."""

    rows: int
    metrics: dict[str, float]
    intervals: dict[str, Interval] = {}


class TrainingManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Of one run."""

    run_id: str
    name: str  # of the model
    version: str | None = None  # that the run was registered as
    config_hash: str
    dataset_digest: str
    is_synthetic: bool = False
    rows: dict[str, int]  # train, validation, quarantined, dropped
    split: int = 1  # the rule that says which rows are held out; another holds out others
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
    definitions: dict[str, str] = {}  # import paths of the order: SHA-256 of their source files
    started_ms: int  # of the first attempt
    duration_s: float  # of all attempts, up to their last checkpoints
    energy_j: float | None = (
        None  # of the machine's processors meanwhile; unset: nobody may read it
    )
    epochs: int
    updates: int
    nonfinite: int = 0
    signature: str = ""  # empty: nobody has signed it
    v: int = MANIFEST_VERSION


_FORM = Form[TrainingManifest]("training manifest", TrainingManifest, MANIFEST_VERSION)
encode_manifest = _FORM.encode
decode_manifest = _FORM.decode


def sign(manifest: TrainingManifest, key: SigningKey) -> TrainingManifest:
    """The same with its signature."""
    bare = msgspec.structs.replace(manifest, signature="")
    signature = key.sign(Kind.TRAINING, signed_bytes(encode_manifest(bare)))
    return msgspec.structs.replace(bare, signature=signature)


def verify(raw: bytes, trusted: Trusted, name: str) -> PublicKey:
    """The key that signed a manifest, as it stands in a file; `name` is named in errors.

    Raises:
        SignatureInvalid: nobody has, or nobody who is trusted, or another manifest was signed.
        Malformed, SchemaInvalid: it is none.
    """
    signature = decode_manifest(raw).signature
    return trusted.verify(Kind.TRAINING, signed_bytes(raw), signature, name)


def signed_bytes(raw: bytes) -> bytes:
    """What is signed: all of the record but its signature, as RFC 8785 writes it.

    So it may be stored as any JSON, a database's for example, and hold fields that are not known here.
    """
    fields = msgspec.json.decode(raw, type=dict[str, Any])
    fields.pop("signature", None)
    return rfc8785.dumps(fields)
