"""What several tiers are made of, made once: the module, its capture, its graph in each precision.

A tier's compile time is what it would take to make that tier alone: what another tier made before it
is charged to both. `tests/workers/compiling/test_pipeline.py`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from chimera.schemas.compile_report import Precision
from chimera.schemas.tensors import Array
from chimera.schemas.tiers import BY_NAME, Tier
from chimera.workers.backends.opening import Place
from chimera.workers.compiling import exported, gpu
from chimera.workers.compiling.source import Source

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

T = TypeVar("T")


@dataclass(slots=True)
class Workshop:
    """One version on one machine; `gpu` is its reason where there is none."""

    source: Source
    place: Place  # the processor's
    gpu: gpu.Gpu | str
    max_rows: int
    buckets: tuple[int, ...]
    int8: bool
    native: bool = True
    credited_s: float = 0.0  # taken from what was made before
    _made: dict[str, tuple[Any, float]] = field(default_factory=dict[str, tuple[Any, float]])

    @property
    def has_definition(self) -> bool:
        return bool(self.source.manifest.definition)

    def feeds(self) -> dict[int, tuple[Array, ...]]:
        """Samples at each batch size that is measured."""
        return {rows: self.source.inputs(rows) for rows in self.buckets}

    def place_of(self, tier: Tier) -> Place:
        if tier.device == "cpu":
            return self.place
        assert isinstance(self.gpu, gpu.Gpu)  # tiers of a GPU are skipped without one
        return Place(self.gpu.device, self.place.threads, self.place.definitions)

    def module(self) -> "nn.Module":
        """Raises ModelRefused."""
        return self._once("module", self._load_module)

    def program(self, precision: Precision, tier: Tier) -> "ExportedProgram":
        """Raises CompileFailed, ModelRefused."""
        return self._once(
            f"program {precision} {tier.device}", lambda: self._capture(precision, tier)
        )

    def graph(self, precision: Precision) -> bytes:
        """Raises CompileFailed, ModelRefused."""
        return self._once(f"graph {precision}", lambda: self._draw(precision))

    def _once(self, name: str, make: Callable[[], T]) -> T:
        known = self._made.get(name)
        if known is not None:
            self.credited_s += known[1]
            found: T = known[0]
            return found
        before_s, started_s = self.credited_s, time.monotonic()
        made = make()
        self._made[name] = (made, time.monotonic() - started_s + self.credited_s - before_s)
        return made

    def _load_module(self) -> "nn.Module":
        from chimera.workers.backends import torch_module

        source = self.source
        return torch_module.load(source.manifest, source.content, self.place.definitions)

    def _capture(self, precision: Precision, tier: Tier) -> "ExportedProgram":
        from chimera.workers.backends.torch_calls import device_of
        from chimera.workers.backends.torch_narrowed import narrowed

        device = device_of(self.place_of(tier).device)
        module = narrowed(self.module(), precision)
        if device.type != "cpu":
            module = exported.copied(module, device)
        example = self.source.inputs(exported.EXAMPLE_ROWS)
        return exported.capture(module, self.source.manifest, example, self.max_rows)

    def _draw(self, precision: Precision) -> bytes:
        from chimera.workers.compiling import graphs

        if precision == "int8":
            return graphs.to_int8(self.graph("fp32"))
        if precision == "fp16":
            return graphs.to_fp16(self.graph("fp32"))
        if not self.has_definition:
            return self.source.content
        program = self.program("fp32", BY_NAME["torch-cpu"])
        return exported.to_onnx(program, self.source.manifest)
