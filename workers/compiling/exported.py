"""A torch module captured whole, and written as ONNX: `torch.export`, then its ONNX exporter.

The batch is a symbol from one to the largest; other sizes that vary are left to the exporter. One
capture serves every compiled tier of a precision. `tests/workers/compiling/test_definitions.py`.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

import copy
import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from chimera.schemas.errors import CompileFailed
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.tensors import Array
from chimera.workers.backends.torch_calls import are_bf16, first_line

EXAMPLE_ROWS = 2  # a batch of one would be taken for a constant
_CHATTY = "torch.onnx._internal.exporter._registration"  # names each library that is not installed


def copied(module: nn.Module, device: torch.device) -> nn.Module:
    """The module on another device; the one given stays where it is."""
    return copy.deepcopy(module).to(device)


def capture(
    module: nn.Module, manifest: Manifest, example: Sequence[Array], max_rows: int
) -> ExportedProgram:
    """`example`: inputs of `EXAMPLE_ROWS` rows, or of the one batch that the model takes.

    Raises:
        CompileFailed: the module does what cannot be captured.
    """
    batch = Dim("batch", min=1, max=max_rows) if manifest.batches and max_rows > 1 else None
    shapes = tuple(_dynamic(spec, batch) for spec in manifest.inputs)
    device = next((one.device for one in module.parameters()), torch.device("cpu"))
    tensors = tuple(
        torch.from_numpy(array.copy()).to(device, torch.bfloat16 if narrow else None)
        for array, narrow in zip(example, are_bf16(manifest), strict=True)
    )
    if batch is None:
        tensors = tuple(t[:1] if manifest.batches else t for t in tensors)
    try:
        with torch.no_grad():
            return torch.export.export(module, tensors, dynamic_shapes=shapes)
    except Exception as error:  # noqa: BLE001  # a definition's own code may raise anything
        raise CompileFailed(f"torch.export: {first_line(error)}") from None


def to_onnx(program: ExportedProgram, manifest: Manifest) -> bytes:
    """A graph with the manifest's names, and its weights inside.

    Raises:
        CompileFailed: there is no ONNX for an operator.
    """
    try:
        with _quiet():
            made = torch.onnx.export(
                program,
                (),
                input_names=[spec.name for spec in manifest.inputs],
                output_names=[spec.name for spec in manifest.outputs],
                dynamo=True,
                verbose=False,
            )
        assert made is not None  # it is, when no file is named
        graph: bytes = made.model_proto.SerializeToString()
    except Exception as error:  # noqa: BLE001  # its exceptions share no other class
        raise CompileFailed(f"torch.onnx.export: {first_line(error)}") from None
    return graph


def _dynamic(spec: TensorSpec, batch: Dim | None) -> dict[int, Any]:
    found: dict[int, Any] = {axis: Dim.AUTO for axis, size in enumerate(spec.shape) if size < 0}
    if batch is not None:
        found[0] = batch
    elif spec.shape[:1] == (-1,):
        found.pop(0)
    return found


@contextmanager
def _quiet() -> Generator[None]:
    logger = logging.getLogger(_CHATTY)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
