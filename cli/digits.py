"""The demo's model: a small network trained on scikit-learn's 1,797 handwritten digits, as ONNX.

    python -m chimera.cli.digits FOLDER
      FOLDER/models/digits/1/   the model and its manifest
      FOLDER/digits.npz         what it never saw in training: images, labels, its own scores
      FOLDER/digit.json         one of those, for `chimera infer`

A process of its own, because torch takes longer to load than everything else in the demo. It says
what it does in lines on standard output. The seed is fixed: the same machine makes the same model.
`tests/cli/test_demo.py` compares the digits with scikit-learn's; the demo serves the ONNX file.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (torch's functions are typed in part)

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.workers.definitions.mlp import Mlp
from chimera.workers.models import write_model

SEED = 0
HELD_OUT = 0.25
EPOCHS, ROWS, LEARNING_RATE = 40, 128, 0.003
DROPOUT, SMOOTHING = 0.3, 0.1  # without them the worst of six splits was 95.8 %, with them 98.2 %


def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
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


def train(images: NDArray[np.float32], labels: NDArray[np.int64]) -> Mlp:
    torch.manual_seed(SEED)
    network = Mlp(dropout=DROPOUT)
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    inputs, wanted = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(EPOCHS):
        for rows in torch.split(torch.randperm(len(wanted)), ROWS):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(
                network.logits(inputs[rows]), wanted[rows], label_smoothing=SMOOTHING
            )
            torch.autograd.backward(loss)
            optimiser.step()
    return network.eval()


def export(network: nn.Module) -> bytes:
    """An ONNX file that takes any number of rows."""
    program = torch.onnx.export(
        network,
        (torch.zeros(2, 64),),
        input_names=["image"],
        output_names=["digit", "scores"],
        dynamic_shapes={"image": {0: torch.export.Dim("rows")}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # it is, when no file is named
    model: bytes = program.model_proto.SerializeToString()
    return model


MANIFEST = Manifest(
    name="digits",
    version="1",
    inputs=(TensorSpec("image", "FP32", (-1, 64)),),
    outputs=(TensorSpec("digit", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 10))),
    sha256="0" * 64,  # filled in by write_model
    labels=tuple("0123456789"),
)


def make(folder: Path) -> None:
    """Train, export and write everything into `folder`.

    Raises:
        ConfigurationError: no scikit-learn. ModelRefused: there is such a version already.
    """
    torch.set_num_threads(1)  # small matrices: more threads are slower, and not reproducible
    images, labels = digits()
    order = np.random.default_rng(SEED).permutation(len(labels))
    held_out, rest = np.split(order, [int(len(order) * HELD_OUT)])
    _say("training")
    network = train(images[rest], labels[rest])
    _say("exporting")
    model = export(network)
    write_model(folder / "models", model, MANIFEST)
    with torch.inference_mode():
        _, scores = network(torch.from_numpy(images[held_out]))
    np.savez(
        folder / "digits.npz",
        images=images[held_out],
        labels=labels[held_out],
        scores=scores.numpy(),
    )
    (folder / "digit.json").write_text(json.dumps(images[held_out[0]].tolist()) + "\n")
    _say("done")


def _say(what: str) -> None:
    print(f"digits: {what}", flush=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
