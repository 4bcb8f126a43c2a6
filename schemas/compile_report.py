"""What compiling a model version came to: each tier with its verdict, its errors and its timings.

A report is made once, on the machine that its target keys name, and is what dispatch chooses by: it
is stored with the version and goes into `models.events`, tier by tier. A tier that was not made says why; none is
left out. Milliseconds are of one call, `rows` are of one batch. Readers ignore fields that they do
not know. `tests/schemas/test_compile_report.py` compares it with golden files.
"""

from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import File
from chimera.schemas.tiers import BY_NAME

COMPILE_REPORT_VERSION = 1
REPORT_FILE = "report.json"

Precision = Literal["fp32", "fp16", "bf16", "int8"]
Verdict = Literal["verified", "rejected", "failed", "skipped"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "int8")  # from exact to coarse

Milliseconds = Annotated[float, msgspec.Meta(ge=0)]
Rows = Annotated[int, msgspec.Meta(ge=1)]


class Tolerance(msgspec.Struct, frozen=True):
    """How far an artifact may be from the reference.

    An element may differ by `max_abs` times its row's largest magnitude (or 1, where that is
    less) plus `max_rel` times its own; what a row is stands in `workers/verification/comparison.py`.
    """

    max_abs: float
    max_rel: float
    min_cosine: float
    min_agreement: float  # share of equal integers, and of rows whose largest element is the same
    edges: Literal["close", "finite"]  # off the samples: as close, or only NaN and Inf in place


class Errors(msgspec.Struct, frozen=True):
    """The worst over a check's outputs; elements that are NaN or Inf are counted, not compared."""

    max_abs: float
    max_rel: float  # to the element, or to a thousandth of its row's largest
    cosine: float
    agreement: float
    mismatches: int  # elements that are NaN or Inf here and not there


class Check(msgspec.Struct, frozen=True):
    """One case at one batch size, compared with the reference."""

    case: str
    rows: int
    errors: Errors | None = None  # none: it raised, or gave other shapes
    reason: str = ""  # why it does not pass; empty: it does


class Steady(msgspec.Struct, frozen=True):
    """One batch size, warm."""

    rows: Rows
    runs: int
    p50_ms: Milliseconds
    p99_ms: Milliseconds


class Timings(msgspec.Struct, frozen=True):
    """Making, loading and warming are apart from what lasts."""

    compile_s: float
    load_ms: Milliseconds
    first_ms: Milliseconds  # the first call after loading
    warm_up_ms: Milliseconds  # all calls until the times were steady, the first among them
    steady: tuple[Steady, ...] = ()
    pays_after: dict[int, int | None] = {}  # rows a batch -> requests until making it was worth it


class Step(msgspec.Struct, frozen=True):
    """Progress: what is being done to a variant, or what became of it."""

    variant: (
        str  # several, while they are measured in turns; reference: what they are compared with
    )
    stage: str  # making, loading, warming, verifying, measuring, or the verdict
    detail: str = ""


class TierReport(msgspec.Struct, frozen=True):
    """One tier in one precision."""

    tier: str
    precision: Precision
    verdict: Verdict
    reason: str = ""  # why it is not verified
    target: str = ""  # where its files run: a key of processor or GPU, and of the library
    files: dict[str, File] = {}  # by name, in the folder that bears this variant's name
    tolerance: Tolerance | None = None
    checks: tuple[Check, ...] = ()
    timings: Timings | None = None

    @property
    def variant(self) -> str:
        """Tier and precision as one name: a folder, a label, a breaker's key."""
        return variant(self.tier, self.precision)


class CompileReport(msgspec.Struct, frozen=True):
    """All nine tiers of a version, in the design's order; a tier stands twice with a variant."""

    model: str
    version: str
    sha256: str  # of the version's source
    reference: str  # what the others were compared with
    made_at_ms: int  # since the epoch
    took_s: float
    machine: dict[str, str]
    max_rows: Rows
    tiers: tuple[TierReport, ...]
    left_out: dict[str, str] = {}  # cases that the reference itself does not allow, and why
    v: int = COMPILE_REPORT_VERSION


_DECODER = msgspec.json.Decoder(CompileReport)


def variant(tier: str, precision: Precision) -> str:
    """The tier's name, with the precision where that is not the tier's own."""
    own = "fp16" if tier.endswith("fp16") else "fp32"
    return tier if precision == own else f"{tier}-{precision}"


@lru_cache(maxsize=256)
def read_variant(name: str) -> tuple[str, Precision]:
    """The tier and the precision that a variant's name says. Raises ModelRefused: it is none."""
    for tier in BY_NAME:
        for precision in PRECISIONS:
            if variant(tier, precision) == name:
                return tier, precision
    raise ModelRefused(f"there is no tier {name!r}")


def encode(report: CompileReport) -> bytes:
    """As JSON for people: indented."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def decode(raw: bytes, path: str) -> CompileReport:
    """Read and check a report; `path` is named in errors.

    Raises:
        ModelRefused: not JSON, a field is wrong, an unknown tier, or a version not known here.
    """
    try:
        report = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelRefused(f"{path}: {error}") from None
    if report.v != COMPILE_REPORT_VERSION:
        raise ModelRefused(f"{path}: v is {report.v}, this release reads {COMPILE_REPORT_VERSION}")
    for one in report.tiers:
        if one.tier not in BY_NAME:
            raise ModelRefused(f"{path}: there is no tier {one.tier!r}")
    return report
