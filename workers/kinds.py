"""Which kind of executor a node's orders need: one without torch, or one with it. Pure.

`tests/workers/test_kinds.py`.
"""

import sys
from collections.abc import Sequence

from chimera.schemas.compile_report import read_variant
from chimera.schemas.errors import ModelRefused
from chimera.schemas.placements import Orders, Placement
from chimera.schemas.tiers import BY_NAME
from chimera.workers.dispatching.tier_order import Measured, order

_START = (sys.executable, "-P", "-m", "chimera.workers.start")
ONNX = (*_START, "chimera.workers.executor")
TORCH = (*_START, "chimera.workers.torch_executor")


def entry(orders: Orders | None, device: str) -> Sequence[str]:
    """The command line of an executor on `device`: `cpu` or `cuda:<index>`."""
    kind = device.partition(":")[0]
    placements = orders.placements if orders is not None else ()
    return TORCH if any(_is_best_in_torch(one, kind) for one in placements) else ONNX


def _is_best_in_torch(placement: Placement, kind: str) -> bool:
    """Whether the fastest of its variants for this kind of device needs torch."""
    measured = [
        Measured(variant.name, True, variant.p99_us)
        for variant in placement.variants
        if _device_of(variant.name) == kind
    ]
    best = order(measured, {})[:1]
    return any(BY_NAME[read_variant(name)[0]].library == "torch" for name in best)


def _device_of(variant: str) -> str:
    try:
        return BY_NAME[read_variant(variant)[0]].device
    except ModelRefused:
        return ""
