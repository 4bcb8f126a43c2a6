"""The digits' perceptron for benchmarks: trained here by hand, in a second, the same weights each time.

`python -m benchmarks.tiers` compiles it.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

import torch
from torch import nn

from chimera.cli.demoing.digits import Images, Labels
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.workers.definitions.mlp import Mlp

SEED = 0
EPOCHS, ROWS = 40, 128
LEARNING_RATE, MOMENTUM = 0.1, 0.9
SMOOTHING = 0.1
SAMPLES = "samples.safetensors"

MANIFEST = Manifest(
    name="digits",
    version="1",
    inputs=(TensorSpec("image", "FP32", (-1, 64)),),
    outputs=(TensorSpec("digit", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 10))),
    sha256="0" * 64,  # filled in when it is packed
    labels=tuple("0123456789"),
    definition="chimera.workers.definitions.mlp:Mlp",
    samples=SAMPLES,
)


def train(images: Images, labels: Labels) -> Mlp:
    """Without an optimiser of torch's: making one loads its compiler, which takes longer than all of this."""
    torch.manual_seed(SEED)
    network = Mlp()
    weights = list(network.parameters())
    speeds = [torch.zeros_like(one) for one in weights]
    inputs, wanted = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(EPOCHS):
        for rows in torch.split(torch.randperm(len(wanted)), ROWS):
            loss = nn.functional.cross_entropy(
                network.logits(inputs[rows]), wanted[rows], label_smoothing=SMOOTHING
            )
            slopes = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for weight, speed, slope in zip(weights, speeds, slopes, strict=True):
                    speed.mul_(MOMENTUM).add_(slope)
                    weight.sub_(speed, alpha=LEARNING_RATE)
    return network.eval()
