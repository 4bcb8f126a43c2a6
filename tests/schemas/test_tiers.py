from chimera.schemas.tiers import BY_NAME, TIERS


def test_tiers_are_the_nine_of_the_design_in_their_order() -> None:
    assert [tier.name for tier in TIERS] == [
        "tensorrt-fp16",
        "tensorrt-fp32",
        "onnx-tensorrt",
        "onnx-cuda",
        "torch-compiled-cuda",
        "torch-cuda",
        "onnx-cpu",
        "torch-compiled-cpu",
        "torch-cpu",
    ]
    assert [tier.number for tier in TIERS] == list(range(1, 10))
    assert [BY_NAME[tier.name] for tier in TIERS] == list(TIERS)


def test_what_never_ran_on_a_device_is_experimental() -> None:
    assert [tier.number for tier in TIERS if tier.experimental] == [1, 2, 3]


def test_compiled_tiers_have_a_file_of_their_own() -> None:
    assert [tier.number for tier in TIERS if tier.file is None] == [6, 9]
    assert {tier.file for tier in TIERS if tier.library == "onnxruntime"} == {"graph.onnx"}


def test_tiers_on_the_processor_need_no_device() -> None:
    assert [tier.number for tier in TIERS if tier.device == "cpu"] == [7, 8, 9]
