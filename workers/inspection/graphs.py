"""An ONNX file as a version's source: checked, and what it takes and gives.

Its own module, because importing onnx costs a third of a second that other files need not wait for.
The file is parsed once, from memory. `tests/workers/test_inspection.py`.
"""

from collections.abc import Sequence

import onnx

from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import TensorSpec
from chimera.workers.backends.onnx_check import Caps, check
from chimera.workers.inspection.rules import Rules

MAX_GRAPH_BYTES = (2 << 30) - 1  # protobuf's own limit
_DATATYPES: dict[int, str] = {
    onnx.TensorProto.BOOL: "BOOL",
    onnx.TensorProto.UINT8: "UINT8",
    onnx.TensorProto.UINT16: "UINT16",
    onnx.TensorProto.UINT32: "UINT32",
    onnx.TensorProto.UINT64: "UINT64",
    onnx.TensorProto.INT8: "INT8",
    onnx.TensorProto.INT16: "INT16",
    onnx.TensorProto.INT32: "INT32",
    onnx.TensorProto.INT64: "INT64",
    onnx.TensorProto.FLOAT16: "FP16",
    onnx.TensorProto.BFLOAT16: "BF16",
    onnx.TensorProto.FLOAT: "FP32",
    onnx.TensorProto.DOUBLE: "FP64",
    onnx.TensorProto.STRING: "BYTES",
}


class Graph:
    """A graph that passed: made from the file's bytes, asked whether it is the manifest's."""

    def __init__(self, model: bytes, path: str, rules: Rules) -> None:
        """Raises ModelRefused: it must not be served."""
        caps = Caps(frozenset(rules.operator_domains), rules.max_graph_nodes, rules.max_tensors)
        graph = check(model, path, caps).graph
        constants = {tensor.name for tensor in graph.initializer}
        self._path = path
        self._inputs = [value for value in graph.input if value.name not in constants]
        self._outputs = list(graph.output)

    def require(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        """Raises ModelRefused: its inputs are not these, or it lacks one of the outputs."""
        wanted = {spec.name for spec in inputs}
        if extra := [value.name for value in self._inputs if value.name not in wanted]:
            raise ModelRefused(f"{self._path}: also has the input {extra[0]!r}")
        for specs, values in ((inputs, self._inputs), (outputs, self._outputs)):
            found = {value.name: value for value in values}
            for spec in specs:
                if spec.name not in found:
                    raise ModelRefused(f"{self._path}: has no {spec.name!r}, only {sorted(found)}")
                self._require_like(spec, found[spec.name].type.tensor_type)

    def _require_like(self, spec: TensorSpec, found: onnx.TypeProto.Tensor) -> None:
        datatype = _DATATYPES.get(found.elem_type)
        if datatype != spec.datatype:
            raise ModelRefused(
                f"{self._path}: {spec.name!r} is {datatype}, the manifest says {spec.datatype}"
            )
        if not found.HasField("shape"):
            return
        sizes = [size.dim_value if size.HasField("dim_value") else -1 for size in found.shape.dim]
        if len(sizes) != len(spec.shape) or any(
            size >= 0 and size != said for size, said in zip(sizes, spec.shape, strict=True)
        ):
            raise ModelRefused(
                f"{self._path}: {spec.name!r} has the shape {sizes},"
                f" the manifest says {list(spec.shape)}"
            )
