"""What TensorRT's builder is told: written down by one that builds nothing, compared with golden calls."""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from chimera.schemas.manifest import TensorSpec
from chimera.workers.compiling.tensorrt_plan import plan
from tests.workers.rig import manifest

MODULE = "chimera.workers.compiling.tensorrt_build"
IMAGES = manifest(inputs=(TensorSpec("x", "FP32", (-1, 64)),))


class Written:
    """Notes each call, and each attribute that is set, by name."""

    def __init__(self, name: str, calls: list[tuple[Any, ...]]) -> None:
        self.__dict__.update(_name=name, _calls=calls)

    def __setattr__(self, name: str, value: object) -> None:
        self._calls.append((f"{self._name}.{name} =", value))

    def __getattr__(self, name: str) -> Any:
        def call(*given: object) -> object:
            if name.startswith("create_"):
                return Written(name.removeprefix("create_"), self._calls)
            told = (one._name if isinstance(one, Written) else one for one in given)
            self._calls.append((f"{self._name}.{name}", *told))
            return None

        return call


class Logger:
    ERROR = 1

    def __init__(self, level: int) -> None:
        assert level == self.ERROR


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, beside a TensorRT that has names alone."""
    library: Any = ModuleType("tensorrt")
    library.Logger = Logger
    library.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    library.BuilderFlag = SimpleNamespace(__members__={"TF32": "tf32"})
    library.Builder = library.IBuilderConfig = object
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    yield importlib.import_module(MODULE)
    sys.modules.pop(MODULE)


def test_builder_is_told_the_plan_word_for_word(build: Any) -> None:
    calls: list[tuple[Any, ...]] = []
    build.configure(Written("builder", calls), plan(IMAGES, "fp32", (1, 32), 32, {}))
    assert calls == [
        ("builder_config.set_memory_pool_limit", "workspace", 4_294_967_296),
        ("builder_config.builder_optimization_level =", 3),
        ("builder_config.clear_flag", "tf32"),
        ("optimization_profile.set_shape", "x", (1, 64), (1, 64), (1, 64)),
        ("builder_config.add_optimization_profile", "optimization_profile"),
        ("optimization_profile.set_shape", "x", (2, 64), (32, 64), (32, 64)),
        ("builder_config.add_optimization_profile", "optimization_profile"),
    ]
