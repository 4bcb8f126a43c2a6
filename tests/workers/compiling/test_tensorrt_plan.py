"""What TensorRT is asked for: golden values, and that profiles take every batch and no other."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import CompileFailed
from chimera.schemas.manifest import TensorSpec
from chimera.workers.compiling.tensorrt_plan import Plan, plan, profile_of, provider_options
from tests.workers.rig import manifest

IMAGES = manifest(inputs=(TensorSpec("x", "FP32", (-1, 64)), TensorSpec("n", "INT64", (-1,))))

GOLDEN = {
    "precision": "fp32",
    "profiles": [
        {
            "smallest": {"x": [1, 64], "n": [1]},
            "tuned": {"x": [1, 64], "n": [1]},
            "largest": {"x": [1, 64], "n": [1]},
        },
        {
            "smallest": {"x": [2, 64], "n": [2]},
            "tuned": {"x": [32, 64], "n": [32]},
            "largest": {"x": [32, 64], "n": [32]},
        },
        {
            "smallest": {"x": [33, 64], "n": [33]},
            "tuned": {"x": [256, 64], "n": [256]},
            "largest": {"x": [256, 64], "n": [256]},
        },
    ],
    "flags_on": [],
    "flags_off": ["TF32"],
    "workspace_bytes": 4_294_967_296,
    "optimisation_level": 3,
}


def test_plan_of_full_precision_is_the_golden_one() -> None:
    made = plan(IMAGES, "fp32", (1, 32, 256), 256, {})
    assert msgspec.to_builtins(made, str_keys=True, order=None) == msgspec.to_builtins(
        msgspec.convert(GOLDEN, Plan)
    )


def test_plan_of_half_precision_leaves_the_flags_alone() -> None:
    made = plan(IMAGES, "fp16", (1, 32, 256), 256, {})
    assert (made.flags_on, made.flags_off) == ((), ())
    assert made.profiles == plan(IMAGES, "fp32", (1, 32, 256), 256, {}).profiles


def test_options_of_onnx_runtimes_provider_are_the_golden_ones() -> None:
    made = plan(IMAGES, "fp16", (1, 32, 256), 256, {})
    assert provider_options(made, 1, "/out") == {
        "device_id": "1",
        "trt_max_workspace_size": "4294967296",
        "trt_builder_optimization_level": "3",
        "trt_profile_min_shapes": "x:1x64,n:1",
        "trt_profile_opt_shapes": "x:256x64,n:256",
        "trt_profile_max_shapes": "x:256x64,n:256",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": "/out",
        "trt_dump_ep_context_model": "1",
        "trt_ep_context_file_path": "/out/graph.onnx",
        "trt_ep_context_embed_mode": "1",
    }


def test_model_without_batches_has_one_profile_of_its_own_shapes() -> None:
    alone = manifest(
        inputs=(TensorSpec("x", "FP32", (3, 4)),), outputs=(TensorSpec("y", "FP32", (3,)),)
    )
    made = plan(alone, "fp32", (1, 32), 1, {})
    assert [profile.largest for profile in made.profiles] == [{"x": (3, 4)}]


def test_other_sizes_that_vary_are_the_samples() -> None:
    text = manifest(inputs=(TensorSpec("x", "INT64", (-1, -1)),))
    made = plan(text, "fp32", (4,), 4, {"x": (20, 12)})
    assert made.profiles[0].largest == {"x": (4, 12)}
    with pytest.raises(CompileFailed, match="'x'"):
        plan(text, "fp32", (4,), 4, {})


@given(st.lists(st.integers(1, 500), max_size=6), st.integers(1, 500))
def test_each_batch_up_to_the_largest_has_exactly_one_profile(
    buckets: list[int], largest: int
) -> None:
    made = plan(IMAGES, "fp32", buckets, largest, {})
    for rows in {1, largest, *(rows for rows in buckets if rows <= largest)}:
        fitting = [
            index
            for index, profile in enumerate(made.profiles)
            if profile.smallest["x"][0] <= rows <= profile.largest["x"][0]
        ]
        assert fitting == [profile_of(made, rows)]
    with pytest.raises(ValueError, match="no profile"):
        profile_of(made, largest + 1)


def test_plan_is_stored_and_read_again() -> None:
    made = plan(IMAGES, "fp32", (1, 32), 64, {})
    assert msgspec.json.decode(msgspec.json.encode(made), type=Plan) == made
