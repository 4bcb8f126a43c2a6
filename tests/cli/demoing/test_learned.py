"""Scores in numpy are those of the torch module itself."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (torch's and safetensors' functions are typed in part)

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from chimera.cli.demoing import learned
from chimera.workers.definitions.mlp import Mlp


def test_scores_are_torchs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Mlp().eval()
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    images = np.random.default_rng(0).integers(0, 17, (20, 64)).astype(np.float32)
    with torch.inference_mode():
        _, wanted = module(torch.from_numpy(images))
    found = learned.scores(tmp_path / "weights.safetensors", images)
    assert np.allclose(found, wanted.numpy(), atol=1e-6)
