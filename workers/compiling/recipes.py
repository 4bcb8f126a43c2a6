"""How each tier is made, in which precisions, and what it needs to be made at all.

    obstacle(tier, workshop)  -> why it is skipped, or nothing
    precisions(tier, workshop)
    make(tier, precision, workshop, folder)   writes the variant's files
    target(tier, workshop)    -> where they run

Tiers that are compiled for a GPU were never made here: none was at hand.
`tests/workers/compiling/test_recipes.py` has the obstacles.
"""

import importlib.util
from pathlib import Path

import msgspec

from chimera.schemas.compile_report import Precision
from chimera.schemas.tiers import ENGINE, GRAPH, PACKAGE, Tier
from chimera.workers.backends import opening
from chimera.workers.compiling import targets, tensorrt_plan
from chimera.workers.compiling.gpu import Gpu
from chimera.workers.compiling.workshop import Workshop

BF16_FROM, FP16_FROM = (8, 0), (7, 0)  # compute capabilities whose matrix units know it
TIMING_CACHE = "tensorrt-timing.cache"


def obstacle(tier: Tier, workshop: Workshop) -> str:
    """Empty: it can be made."""
    if tier.device == "cuda" and isinstance(workshop.gpu, str):
        return workshop.gpu
    needs_tensorrt = tier.library == "tensorrt" or tier.name == "onnx-tensorrt"
    if needs_tensorrt and importlib.util.find_spec("tensorrt") is None:
        return "tensorrt is not installed"
    if tier.library == "torch" and not workshop.has_definition:
        return "no torch definition"
    if tier.library == "torch" and tier.compiled:
        from chimera.workers.compiling.packages import has_compiler

        if not has_compiler():
            return "no C++ compiler"
    return "" if workshop.native or not tier.native else "no signing key"


def precisions(tier: Tier, workshop: Workshop) -> tuple[Precision, ...]:
    """Which variants are worth a try: what the device has units for."""
    if tier.library == "tensorrt":
        return ("fp16",) if tier.name.endswith("fp16") else ("fp32",)
    if tier.device == "cpu":
        return ("fp32", "int8") if tier.library == "onnxruntime" and workshop.int8 else ("fp32",)
    assert isinstance(workshop.gpu, Gpu)  # tiers of a GPU are skipped without one
    capability = workshop.gpu.capability
    if tier.library == "torch" and capability >= BF16_FROM:
        return ("fp32", "bf16")
    return ("fp32", "fp16") if capability >= FP16_FROM else ("fp32",)


def target(tier: Tier, workshop: Workshop) -> str:
    """The key of the machine, device and library that the files are for."""
    if tier.device == "cpu":
        return targets.of_cpu(tier, workshop.place.threads)
    assert isinstance(workshop.gpu, Gpu)  # tiers of a GPU are skipped without one
    return workshop.gpu.target(tier)


def make(tier: Tier, precision: Precision, workshop: Workshop, folder: Path) -> None:
    """Write the variant's files into its empty folder; an eager tier has none.

    Raises:
        CompileFailed, ModelRefused: it cannot be made.
    """
    if not tier.compiled:
        return
    if tier.library == "torch":
        from chimera.workers.compiling.packages import compile_package

        program = workshop.program(precision, tier)
        compile_package(program, folder / PACKAGE, workshop.place.threads)
    elif tier.library == "tensorrt":
        _build_engine(precision, workshop, folder)
    else:
        _save_graph(tier, precision, workshop, folder)


def _save_graph(tier: Tier, precision: Precision, workshop: Workshop, folder: Path) -> None:
    from chimera.workers.backends.onnx_runtime import OnnxRuntime

    manifest, place = workshop.source.manifest, workshop.place_of(tier)
    graph = workshop.graph(precision)
    if tier.name == "onnx-tensorrt":
        assert isinstance(workshop.gpu, Gpu)  # tiers of a GPU are skipped without one
        asked = tensorrt_plan.provider_options(
            _plan(precision, workshop), workshop.gpu.index, str(folder)
        )
        OnnxRuntime(place.device, place.threads, tensorrt=asked).load_plain(manifest, graph)
        return
    runtime = OnnxRuntime(place.device, place.threads)
    runtime.save_optimised(manifest, graph, folder / GRAPH)


def _build_engine(precision: Precision, workshop: Workshop, folder: Path) -> None:
    from chimera.workers.compiling.tensorrt_build import build

    made = _plan(precision, workshop)
    engine = build(workshop.graph(precision), made, folder.parent / TIMING_CACHE)
    (folder / ENGINE).write_bytes(engine)
    (folder / opening.PLAN).write_bytes(msgspec.json.encode(made))


def _plan(precision: Precision, workshop: Workshop) -> tensorrt_plan.Plan:
    samples = workshop.source.samples
    shapes = {name: array.shape for name, array in samples.items()}
    return tensorrt_plan.plan(
        workshop.source.manifest, precision, workshop.buckets, workshop.max_rows, shapes
    )
