"""The GPU to compile for, if there is one, and why not if there is none.

On a GPU this was never run here: none was at hand. `tests/workers/compiling/test_pipeline.py` reads
the reason that stands in reports where there is none.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch's functions are typed in part)

from dataclasses import dataclass

import torch

from chimera.schemas.tiers import Tier
from chimera.workers.compiling.targets import gpu_target, installed


@dataclass(frozen=True, slots=True)
class Gpu:
    device: str  # cuda:<index>
    name: str
    capability: tuple[int, int]
    cuda: str  # the version that torch was built for

    @property
    def index(self) -> int:
        return int(self.device.partition(":")[2] or 0)

    def target(self, tier: Tier) -> str:
        """The key of what a tier's files are made for here."""
        return gpu_target(self.name, self.capability, self.cuda, installed(tier.library))


def find(device: str) -> Gpu | str:
    """The GPU called `cuda:<index>`, or the reason why it cannot be used."""
    if torch.version.cuda is None:
        return "this build of torch knows no CUDA"
    index = int(device.partition(":")[2] or 0)
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        return f"no GPU {device}"
    found = torch.cuda.get_device_properties(index)
    return Gpu(f"cuda:{index}", found.name, (found.major, found.minor), torch.version.cuda)
