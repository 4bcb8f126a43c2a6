"""A version whose only tier is torch's, served by a real executor that has it."""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

import asyncio
from pathlib import Path

import numpy as np
import psutil
import torch
from safetensors.torch import save

from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.placements import Orders, Placement, Variant
from chimera.workers.definitions.mlp import Mlp
from chimera.workers.models import write_model
from tests.workers.rig import Rig, request, work

MANIFEST = Manifest(
    "small",
    "1",
    (TensorSpec("x", "FP32", (-1, 2)),),
    (TensorSpec("class", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 3))),
    sha256="0" * 64,
    definition="chimera.workers.definitions.mlp:Mlp",
    arguments={"inputs": 2, "hidden": (4,), "classes": 3},
)


def test_torch_tier_is_served_by_an_executor_with_torch(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Mlp(2, (4,), 3).eval()
    folder = str(write_model(tmp_path, save(module.state_dict()), MANIFEST))
    placed = Placement("small", "1", "d" * 64, folder, (Variant("torch-cpu", folder),))

    async def scenario() -> None:
        async with Rig(tmp_path, entry=None, orders=Orders()) as rig:
            (without,) = rig.pool.executors
            assert await rig.pool.hold([placed]) == ()
            rig.pool.direct({"small": {"1": 1.0}})
            rig.pool.submit(work([request((1, 2), "small")]))
            await rig.answered(1)
            _, scores = rig.value(0)["outputs"]
            expected = module(torch.tensor([[1.0, 2.0]]))[1].detach().numpy()[0]
            assert np.allclose(scores["data"], expected, atol=1e-6)
            assert rig.headers(0)["chimera-tier"] == b"torch-cpu"
            (having,) = rig.pool.executors
            assert "torch_executor" in " ".join(psutil.Process(having.pid).cmdline())
            assert having.pid != without.pid

    asyncio.run(scenario())
