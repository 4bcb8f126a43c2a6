"""Which kind of executor a node's orders need: one without torch, or one with it. Pure.

One with torch loads tiers of both libraries, at ten times the memory: it is started where a torch tier
is the fastest over all batch sizes that were measured, as nobody knows yet which are served, where no
other was made for this machine, and, as a fallback, where that is asked for. `tests/workers/test_kinds.py`.
"""

import sys
from collections.abc import Sequence

from chimera.schemas.compile_report import read_variant
from chimera.schemas.errors import ModelRefused
from chimera.schemas.placements import Orders, Placement, Variant
from chimera.schemas.tiers import BY_NAME, Tier
from chimera.workers.compiling.targets import of_cpu
from chimera.workers.dispatching.tier_order import Measured, order

_START = (sys.executable, "-P", "-m", "chimera.workers.start")
ONNX = (*_START, "chimera.workers.executor")
TORCH = (*_START, "chimera.workers.torch_executor")


def entry(
    orders: Orders | None, device: str, threads: int = 1, *, has_fallback: bool = False
) -> Sequence[str]:
    """The command line of an executor on `device`: `cpu` or `cuda:<index>`.

    `has_fallback`: it has torch wherever there is a tier that needs it.
    """
    kind = device.partition(":")[0]
    for placement in orders.placements if orders is not None else ():
        tiers = _tiers(placement, kind, threads)
        if any(_is_torch(name) for name in (tiers if has_fallback else tiers[:1])):
            return TORCH
    return ONNX


def _tiers(placement: Placement, kind: str, threads: int) -> tuple[str, ...]:
    """The variants that can be loaded on this kind of device and this machine, the fastest first."""
    measured = [
        Measured(one.name, True, one.p99_us)
        for one in placement.variants
        if _is_for(one, kind, threads)
    ]
    sizes = {rows for one in measured for rows in one.p99_us}
    return order(measured, dict.fromkeys(sizes, 1.0))


def _is_for(variant: Variant, kind: str, threads: int) -> bool:
    tier = _tier(variant.name)
    if tier is None or tier.device != kind:
        return False
    if not variant.target or tier.file is None or kind != "cpu":
        return True
    return variant.target == of_cpu(tier, threads)


def _is_torch(variant: str) -> bool:
    tier = _tier(variant)
    return tier is not None and tier.library == "torch"


def _tier(variant: str) -> Tier | None:
    try:
        return BY_NAME[read_variant(variant)[0]]
    except ModelRefused:  # a later release may know more
        return None
