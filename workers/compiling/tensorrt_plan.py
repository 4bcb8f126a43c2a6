"""What TensorRT is asked for, as a value: builder flags, workspace, optimisation profiles.

A profile is a range of batch sizes and the size it is tuned for: one for each bucket, so that a batch
of one does not run what was tuned for 256. Networks are strongly typed, the graph's own types decide
the precision: TensorRT 11 knows no other way, 10 knows this one too. TF32 is off in fp32, or the tier
would be none. Pure; `tests/workers/compiling/test_tensorrt_plan.py` has golden values.
"""

from collections.abc import Mapping, Sequence

import msgspec

from chimera.schemas.compile_report import Precision
from chimera.schemas.errors import CompileFailed
from chimera.schemas.manifest import Manifest, TensorSpec

WORKSPACE_BYTES = 4 << 30
OPTIMISATION_LEVEL = 3  # TensorRT's default; 5 takes many times longer for a few per cent


class Profile(msgspec.Struct, frozen=True):
    """Shapes by input: the smallest, the one tuned for, the largest."""

    smallest: dict[str, tuple[int, ...]]
    tuned: dict[str, tuple[int, ...]]
    largest: dict[str, tuple[int, ...]]


class Plan(msgspec.Struct, frozen=True):
    precision: Precision
    profiles: tuple[Profile, ...]
    flags_on: tuple[str, ...] = ()  # of tensorrt.BuilderFlag
    flags_off: tuple[str, ...] = ()
    workspace_bytes: int = WORKSPACE_BYTES
    optimisation_level: int = OPTIMISATION_LEVEL


def plan(
    manifest: Manifest,
    precision: Precision,
    buckets: Sequence[int],
    max_rows: int,
    sample_shapes: Mapping[str, tuple[int, ...]],
) -> Plan:
    """`sample_shapes`: of inputs whose other sizes vary too; those are fixed at the samples'.

    Raises:
        CompileFailed: a size varies, and no sample tells which it is.
    """
    fixed = {spec.name: _fixed(spec, manifest, sample_shapes) for spec in manifest.inputs}
    ends = sorted({rows for rows in buckets if rows < max_rows} | {max_rows})
    ranges = list(zip([1, *(end + 1 for end in ends[:-1])], ends, strict=True))
    if not manifest.batches:
        ranges = [(1, 1)]

    def shapes(rows: int) -> dict[str, tuple[int, ...]]:
        if not manifest.batches:
            return fixed
        return {name: (rows, *shape[1:]) for name, shape in fixed.items()}

    profiles = [Profile(shapes(low), shapes(high), shapes(high)) for low, high in ranges]
    off = ("TF32",) if precision == "fp32" else ()
    return Plan(precision, tuple(profiles), flags_off=off)


def provider_options(made: Plan, device_index: int, folder: str) -> dict[str, str]:
    """The same for ONNX Runtime's TensorRT provider, which takes one range of shapes for a graph.

    The engine is kept inside the graph that the provider writes (an EPContext), its timing cache in
    `folder`.
    """
    return {
        "device_id": str(device_index),
        "trt_max_workspace_size": str(made.workspace_bytes),
        "trt_builder_optimization_level": str(made.optimisation_level),
        "trt_profile_min_shapes": _listed(made.profiles[0].smallest),
        "trt_profile_opt_shapes": _listed(made.profiles[-1].tuned),
        "trt_profile_max_shapes": _listed(made.profiles[-1].largest),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
        "trt_dump_ep_context_model": "1",
        "trt_ep_context_file_path": f"{folder}/graph.onnx",
        "trt_ep_context_embed_mode": "1",
    }


def profile_of(made: Plan, rows: int) -> int:
    """The index of the first profile that takes a batch of so many rows.

    Raises:
        ValueError: none does.
    """
    for index, profile in enumerate(made.profiles):
        if all(shape[:1] >= (rows,) for shape in profile.largest.values()):
            return index
    raise ValueError(f"no profile takes {rows} rows")


def _fixed(
    spec: TensorSpec, manifest: Manifest, sample_shapes: Mapping[str, tuple[int, ...]]
) -> tuple[int, ...]:
    start = 1 if manifest.batches else 0
    if all(size >= 0 for size in spec.shape[start:]):
        return spec.shape
    if spec.name not in sample_shapes:
        raise CompileFailed(f"TensorRT: {spec.name!r} has the shape {spec.shape}, without a sample")
    return sample_shapes[spec.name]


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
