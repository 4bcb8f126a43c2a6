"""Tiers 1 and 2: TensorRT builds an engine from an ONNX graph and a plan.

The timing cache is kept between the builds of one folder, so that a second one takes a fraction of the
first. NEVER RUN: no machine with TensorRT was at hand. It is type-checked against `typings/tensorrt`, which
was written from the signatures that NVIDIA's wheels 10 and 11 themselves report; the tiers are
experimental until a report from a device exists. `tests/workers/compiling/test_tensorrt_build.py` writes
down what a builder would be told.
"""

# pyright: reportMissingModuleSource=false
# (TensorRT is not installed)

from pathlib import Path

import tensorrt as trt

from chimera.schemas.errors import CompileFailed
from chimera.workers.compiling.tensorrt_plan import Plan

LOGGER = trt.Logger(trt.Logger.ERROR)


def build(graph: bytes, made: Plan, timing_cache: Path) -> bytes:
    """The serialised engine.

    Raises:
        CompileFailed: an operator is not supported, or nothing fits the plan.
    """
    builder = trt.Builder(LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse(graph):
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise CompileFailed(f"TensorRT: {'; '.join(errors)[:500]}")
    config = configure(builder, made)
    known = timing_cache.read_bytes() if timing_cache.exists() else b""
    config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise CompileFailed("TensorRT: no engine can be built, its log has the reason")
    if (learnt := config.get_timing_cache()) is not None:
        timing_cache.write_bytes(bytes(learnt.serialize()))
    return bytes(engine)


def configure(builder: trt.Builder, made: Plan) -> trt.IBuilderConfig:
    """The plan, word for word."""
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, made.workspace_bytes)
    config.builder_optimization_level = made.optimisation_level
    for name in made.flags_on:
        config.set_flag(trt.BuilderFlag.__members__[name])
    for name in made.flags_off:
        config.clear_flag(trt.BuilderFlag.__members__[name])
    for shapes in made.profiles:
        profile = builder.create_optimization_profile()
        for name, smallest in shapes.smallest.items():
            profile.set_shape(name, smallest, shapes.tuned[name], shapes.largest[name])
        config.add_optimization_profile(profile)
    return config
