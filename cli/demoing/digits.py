"""The demo's data and its network: scikit-learn's 1,797 handwritten digits, and who learns them.

A quarter of the images is held out: what is sent, and what versions are verified on, was never seen
in training. The seed is fixed: the same machine makes the same weights.
`tests/cli/demoing/test_digits.py` compares the digits with scikit-learn's.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors
from torch import nn

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.manifest import WEIGHTS_FILE, Manifest, TensorSpec
from chimera.workers.definitions.mlp import Mlp

SEED = 0
HELD_OUT = 0.25
EPOCHS, ROWS = 40, 128
LEARNING_RATE, MOMENTUM = 0.1, 0.9
DROPOUT, SMOOTHING = 0.3, 0.1  # with them the worst of six splits was 98.0 %
SAMPLES = "samples.safetensors"

Images = NDArray[np.float32]
Labels = NDArray[np.int64]

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


class Parts(NamedTuple):
    """[n, 64] pixels of 0 to 16 and [n] labels, twice."""

    images: Images
    labels: Labels
    held_out_images: Images
    held_out_labels: Labels


def digits() -> tuple[Images, Labels]:
    """All images, [1797, 64], and their labels; read without importing scikit-learn (seconds).

    Raises:
        ConfigurationError: scikit-learn is not installed.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise ConfigurationError(
            "the demo trains on scikit-learn's digits: install chimera-stream[demo]"
        )
    file = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    rows = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return rows[:, :64], rows[:, 64].astype(np.int64)


def parts() -> Parts:
    """Raises as `digits`."""
    images, labels = digits()
    order = np.random.default_rng(SEED).permutation(len(labels))
    held_out, rest = np.split(order, [int(len(order) * HELD_OUT)])
    return Parts(images[rest], labels[rest], images[held_out], labels[held_out])


def train(images: Images, labels: Labels) -> Mlp:
    """By hand: making an optimiser of torch's loads its compiler, which takes longer than all of this."""
    torch.manual_seed(SEED)
    network = Mlp(dropout=DROPOUT)
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


def scores(network: Mlp, images: Images) -> Images:
    """The network's own, [n, 10]."""
    with torch.inference_mode():
        _, found = network(torch.from_numpy(images))
    own: Images = found.numpy()
    return own


def files(network: Mlp, samples: Images) -> dict[str, bytes]:
    """What lies beside the manifest: weights, and inputs to verify on."""
    arrays = {"image": np.ascontiguousarray(samples)}
    return {WEIGHTS_FILE: save_tensors(network.state_dict()), SAMPLES: save_arrays(arrays)}
