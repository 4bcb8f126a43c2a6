"""A finished run as a version of its model: weights, samples to verify on, and a manifest's draft.

The draft names the run, and what the module takes and gives as it was seen with rows that were held
out. It is packed and signed elsewhere: no key comes in here. `tests/agents/training/test_agent.py`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (torch's and safetensors' functions are typed in part)

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import load_file
from torch import Tensor

from chimera.schemas.errors import ModelRefused, TrainingRefused
from chimera.schemas.manifest import WEIGHTS_FILE, Argument, Manifest, TensorSpec
from chimera.schemas.training_config import TrainingConfig
from chimera.workers.packing import write_folder
from chimera.workers.training import modules, preparation
from chimera.workers.training.folder import WEIGHTS
from chimera.workers.training.run import Where

FOLDER, SAMPLES = "version", "samples.safetensors"
MAX_SAMPLES = 256
DATATYPES = {
    torch.bool: "BOOL",
    torch.uint8: "UINT8",
    torch.int8: "INT8",
    torch.int16: "INT16",
    torch.int32: "INT32",
    torch.int64: "INT64",
    torch.float16: "FP16",
    torch.bfloat16: "BF16",
    torch.float32: "FP32",
    torch.float64: "FP64",
}


def write_version(config: TrainingConfig, where: Where) -> Path:
    """The folder of a finished run's version; one that is there already stays.

    Raises:
        TrainingRefused, ModelRefused: it cannot be served; says why.
    """
    folder = where.folder / FOLDER
    if folder.exists():
        return folder
    samples = np.array(preparation.opened(where.folder / "data").validation.features[:MAX_SAMPLES])
    outputs = _outputs(config, where, torch.from_numpy(samples))
    release = config.release
    draft = Manifest(
        name=config.name,
        version=where.run_id,
        inputs=(_spec(release.input, torch.from_numpy(samples)),),
        outputs=tuple(_spec(*one) for one in zip(_names(config, outputs), outputs, strict=True)),
        sha256="0" * 64,  # filled in when it is packed
        labels=release.labels,
        definition=config.model.definition,
        arguments=_arguments(config),
        samples=SAMPLES,
        training_run=where.run_id,
    )
    files: dict[str, bytes | Path] = {
        WEIGHTS_FILE: where.folder / WEIGHTS,
        SAMPLES: save_arrays({release.input: np.ascontiguousarray(samples)}),
    }
    return write_folder(folder, draft, files)


def _outputs(config: TrainingConfig, where: Where, samples: Tensor) -> tuple[Tensor, ...]:
    """What the module itself, as it is served, gives for the samples."""
    module = modules.make(config.model, where.allowed).module
    module.load_state_dict(load_file(where.folder / WEIGHTS))
    module.eval()
    with torch.inference_mode():
        found: Any = module(samples)
    outputs = (found,) if isinstance(found, Tensor) else found
    if not isinstance(outputs, tuple) or not all(isinstance(one, Tensor) for one in outputs):
        raise TrainingRefused(
            f"{config.model.definition} gives a {type(found).__name__}: to be served it should give"
            " a tensor, or a tuple of tensors"
        )
    if any(one.shape[:1] != samples.shape[:1] for one in outputs):
        raise TrainingRefused(f"{config.model.definition}: an output has not a row for each input")
    return outputs


def _names(config: TrainingConfig, outputs: tuple[Tensor, ...]) -> tuple[str, ...]:
    names = config.release.outputs
    if not names:
        numbered = tuple(f"output_{number}" for number in range(len(outputs)))
        return numbered if len(outputs) > 1 else ("output",)
    if len(names) != len(outputs):
        raise TrainingRefused(
            f"release.outputs names {len(names)}, {config.model.definition} gives {len(outputs)}"
        )
    return names


def _spec(name: str, tensor: Tensor) -> TensorSpec:
    datatype = DATATYPES.get(tensor.dtype)
    if datatype is None:
        raise TrainingRefused(f"{name}: {tensor.dtype} is no datatype of the inference protocol")
    return TensorSpec(name, datatype, (-1, *tensor.shape[1:]))


def _arguments(config: TrainingConfig) -> dict[str, Argument]:
    try:
        return msgspec.convert(config.model.arguments, dict[str, Argument])
    except msgspec.ValidationError as error:
        raise ModelRefused(f"model.arguments: a manifest cannot hold them: {error}") from None
