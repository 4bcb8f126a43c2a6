"""The nine ways to run a model version, in the order in which they are tried before any was measured.

A tier is a library, a device and a precision. What a machine cannot run is skipped with its reason;
what runs is measured, and the measured 99th percentile decides from then on: this order only breaks
ties. `tests/schemas/test_tiers.py`.
"""

from dataclasses import dataclass
from typing import Literal

GRAPH, PACKAGE, ENGINE = "graph.onnx", "package.pt2", "engine.plan"

Device = Literal["cuda", "cpu"]
Library = Literal["tensorrt", "onnxruntime", "torch"]


@dataclass(frozen=True, slots=True)
class Tier:
    """`name` stands in results' headers, in metrics and in the registry."""

    number: int
    name: str
    library: Library  # of the process that runs it: ONNX Runtime's never imports torch
    device: Device
    compiled: bool  # made ahead of time, into an artifact of its own
    experimental: bool = False  # may not serve before a report from a device exists

    @property
    def file(self) -> str | None:
        """What its artifact's file is called; None: it runs the version's source."""
        if not self.compiled:
            return None
        return {"onnxruntime": GRAPH, "torch": PACKAGE, "tensorrt": ENGINE}[self.library]

    @property
    def native(self) -> bool:
        """Whether its file holds code that runs as it is: such a file is signed by itself."""
        return self.file in (PACKAGE, ENGINE) or self.name == "onnx-tensorrt"  # whose graph has one


TIERS = (
    Tier(1, "tensorrt-fp16", "tensorrt", "cuda", compiled=True, experimental=True),
    Tier(2, "tensorrt-fp32", "tensorrt", "cuda", compiled=True, experimental=True),
    Tier(3, "onnx-tensorrt", "onnxruntime", "cuda", compiled=True, experimental=True),
    Tier(4, "onnx-cuda", "onnxruntime", "cuda", compiled=True),
    Tier(5, "torch-compiled-cuda", "torch", "cuda", compiled=True),
    Tier(6, "torch-cuda", "torch", "cuda", compiled=False),
    Tier(7, "onnx-cpu", "onnxruntime", "cpu", compiled=True),
    Tier(8, "torch-compiled-cpu", "torch", "cpu", compiled=True),
    Tier(9, "torch-cpu", "torch", "cpu", compiled=False),
)

BY_NAME = {tier.name: tier for tier in TIERS}
