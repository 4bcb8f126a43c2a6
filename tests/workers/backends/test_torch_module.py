"""Definitions and weights: what is allowed is loaded, whatever does not fit is refused."""

from typing import Any

import pytest
from safetensors.numpy import load, save
from torch import nn

from chimera.schemas.errors import ModelRefused
from chimera.workers.backends.torch_module import load as load_module
from tests.workers.compiling import two_heads

WEIGHTS = two_heads.weights()
ALLOWED = (*two_heads.ALLOWED, "tests.workers.compiling.missing:*")


def loaded(weights: bytes = WEIGHTS, **fields: Any) -> nn.Module:
    return load_module(two_heads.manifest(**fields), weights, ALLOWED)


def test_module_is_in_evaluation_mode_with_the_files_weights() -> None:
    module = loaded()
    assert not module.training
    wanted = load(WEIGHTS)
    for name, parameter in module.state_dict().items():
        assert (parameter.numpy() == wanted[name]).all()
    assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ("os:system", "list"),
        ("tests.workers.compilingevil.module:Thing", "list"),
        ("tests.workers:Thing", "list"),
        ("tests.workers.compiling.two_heads:_Hidden", "list"),
        ("tests.workers.compiling.two_heads:np.load", "list"),
        ("tests.workers.compiling.two_heads", "list"),
        ("tests.workers.compiling.two_heads:Nothing", "no such factory"),
        ("tests.workers.compiling.two_heads:DEFINITION", "no such factory"),
        ("tests.workers.compiling.missing:Thing", "missing"),
        ("tests.workers.compiling.two_heads:manifest", "no module"),
    ],
)
def test_definition_that_is_not_allowed_or_not_there_is_refused(
    definition: str, reason: str
) -> None:
    with pytest.raises(ModelRefused, match=reason):
        loaded(definition=definition)


def test_arguments_that_the_factory_does_not_take_are_refused() -> None:
    with pytest.raises(ModelRefused, match="colour"):
        loaded(arguments={"colour": 1})


def test_weights_that_do_not_fit_are_refused() -> None:
    state = load(WEIGHTS)
    slope = state["slope"]
    without = {name: array for name, array in state.items() if name != "slope"}
    for reason, wrong in {
        "lacks": without,
        "also has": {**state, "more": slope},
        "slope": {**state, "slope": slope[:3]},
        "float16": {**state, "slope": slope.astype("f2")},
    }.items():
        with pytest.raises(ModelRefused, match=reason):
            loaded(save(wrong))


def test_arguments_decide_what_fits() -> None:
    with pytest.raises(ModelRefused, match=r"float32 \[12\], the definition has float32 \[4\]"):
        loaded(arguments={"width": 4})


@pytest.mark.parametrize("raw", [b"", b"x" * 100, WEIGHTS[:-4], b"\xff" * 16, WEIGHTS + b"1"])
def test_weights_that_are_no_safetensors_are_refused(raw: bytes) -> None:
    with pytest.raises(ModelRefused, match=r"model\.safetensors"):
        loaded(raw)
