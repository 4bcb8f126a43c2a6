"""ONNX Runtime: a model file on one CUDA device or on the processor, without torch.

A file is loaded from memory, never by its path, after `onnx_check` has passed it. A graph that was
optimised and saved here is loaded as it is, and may have the runtime's own operators. Whether CUDA
works is asked of a session, as the GPU build imports well where there is none. Pools of memory are
kept small: an executor's resident size is a promise. `tests/workers/test_onnx_runtime.py`. The
TensorRT provider was never run here: no machine with it was at hand.
"""

# pyright: reportMissingTypeStubs=false

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # ships no type information

from chimera.schemas.errors import ConfigurationError, ModelFailed, ModelRefused, OutOfMemory
from chimera.schemas.manifest import GRAPH_FILE, Manifest, TensorSpec
from chimera.schemas.tensors import Array
from chimera.workers.backends import onnx_check
from chimera.workers.backends.protocol import DeviceLost

_ort: Any = onnxruntime

SAVED = onnx_check.Caps(frozenset({"com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"}))
"""For graphs that ONNX Runtime saved for us alone: its fused operators are its own."""

_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_MEMORY = ("failed to allocate memory", "bad_alloc", "out of memory", "bad allocation")
_LOST = (
    "cudaerrorillegaladdress",
    "an illegal memory access",
    "cudaerrorlaunchfailure",
    "unspecified launch failure",
    "device-side assert",
    "cudaerrorecc",
    "cudaerrordevicelost",
    "cudaerrorhardwarestackerror",
    "cudaerrormisalignedaddress",
)


class OnnxRuntime:
    """Loads models on `device`: `cpu` or `cuda:<index>`."""

    def __init__(
        self, device: str, threads: int, *, tensorrt: Mapping[str, str] | None = None
    ) -> None:
        """`tensorrt`: options of that provider, which then comes before CUDA.

        Raises:
            ConfigurationError: there is no such device, or it cannot be used.
        """
        self._kind, _, index = device.partition(":")
        self._threads = threads
        self._providers: list[Any] = ["CPUExecutionProvider"]
        if self._kind == "cuda":
            _load_cuda()
            if (reason := _why_not(int(index or 0))) is not None:
                raise ConfigurationError(f"device {device}: cannot be used: {reason}")
            options = {
                "device_id": index or "0",
                "cudnn_conv_algo_search": "HEURISTIC",
                "use_tf32": "0",  # on by default, with ten bits of mantissa: fp32 would be none
            }
            self._providers.insert(0, ("CUDAExecutionProvider", options))
            if tensorrt is not None:
                self._providers.insert(0, ("TensorrtExecutionProvider", dict(tensorrt)))
        elif self._kind != "cpu":
            raise ConfigurationError(f"device {device!r}: should be cpu or cuda:<index>")

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(p if isinstance(p, str) else p[0] for p in self._providers)

    def load(self, manifest: Manifest, model: bytes) -> "OnnxModel":
        """See `Loader`. Raises ModelRefused."""
        return self._load(manifest, model, f"onnx-{self._kind}", self._options())

    def load_saved(self, manifest: Manifest, graph: bytes, tier: str) -> "OnnxModel":
        """A graph that `save_optimised` made: it is not optimised again. Raises ModelRefused."""
        options = self._options()
        options.graph_optimization_level = _ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return self._load(manifest, graph, tier, options, SAVED)

    def load_plain(self, manifest: Manifest, model: bytes) -> "OnnxModel":
        """The file as it is written, nothing fused: a reference. Raises ModelRefused."""
        options = self._options()
        options.graph_optimization_level = _ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return self._load(manifest, model, f"onnx-{self._kind}-plain", options)

    def save_optimised(self, manifest: Manifest, model: bytes, path: Path) -> None:
        """Optimise a graph for this device and this machine, and write it to `path`.

        Raises:
            ModelRefused: it cannot be loaded.
        """
        options = self._options()
        options.graph_optimization_level = _ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(path)
        self._load(manifest, model, "", options, SAVED)

    def _load(
        self,
        manifest: Manifest,
        model: bytes,
        tier: str,
        options: Any,
        caps: onnx_check.Caps | None = None,
    ) -> "OnnxModel":
        path = f"{manifest.name}/{manifest.version}/{GRAPH_FILE}"
        onnx_check.check(model, path, caps)
        try:
            session = _ort.InferenceSession(model, options, self._providers)
        except Exception as error:  # noqa: BLE001  # its exceptions share no other class
            raise ModelRefused(f"{path}: {_first_line(error)}") from None
        if (wanted := self.providers[0]) not in session.get_providers():
            raise ModelRefused(f"{path}: {wanted} could not be used for it")
        _require_specs(path, manifest.inputs, session.get_inputs())
        if extra := {node.name for node in session.get_inputs()} - {
            s.name for s in manifest.inputs
        }:
            raise ModelRefused(f"{path}: also has the inputs {sorted(extra)}")
        _require_specs(path, manifest.outputs, session.get_outputs())
        return OnnxModel(session, manifest, tier)

    def _options(self) -> Any:
        options: Any = _ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options


class OnnxModel:
    """A session; `run` is called by one thread."""

    def __init__(self, session: Any, manifest: Manifest, tier: str) -> None:
        self.tier = tier
        self._session = session
        self._inputs = [spec.name for spec in manifest.inputs]
        self._outputs = [spec.name for spec in manifest.outputs]
        self._text = [spec.datatype == "BYTES" for spec in manifest.inputs]

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """See `Backend`. Raises OutOfMemory, ModelFailed, DeviceLost."""
        feeds = {
            name: _as_text(array) if text else array
            for name, array, text in zip(self._inputs, inputs, self._text, strict=True)
        }
        try:
            outputs: Sequence[Array] = self._session.run(self._outputs, feeds)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # its exceptions share no other class
            raise _translate(error) from None
        return outputs


def usable_gpus(limit: int = 64) -> list[str]:
    """Devices on which a session can really be made; slow, for a process of its own."""
    _load_cuda()
    return [f"cuda:{index}" for index in itertools.takewhile(_is_usable, range(limit))]


def _is_usable(index: int) -> bool:
    return _why_not(index) is None


def _why_not(index: int) -> str | None:
    """Why a session cannot be made on a GPU; None: it can."""
    if "CUDAExecutionProvider" not in _ort.get_available_providers():
        return "this build of ONNX Runtime knows no CUDA"
    options: Any = _ort.SessionOptions()
    options.log_severity_level = 4
    providers = [("CUDAExecutionProvider", {"device_id": str(index)}), "CPUExecutionProvider"]
    try:
        session = _ort.InferenceSession(_probe_model(), options, providers)
        session.run(None, {"x": np.zeros(1, np.float32)})
    except Exception as error:  # noqa: BLE001  # its exceptions share no other class
        return _first_line(error)
    if session.get_providers()[0] != "CUDAExecutionProvider":
        return "no driver, no such GPU, or CUDA's libraries do not fit"
    return None


def _load_cuda() -> None:
    """CUDA's libraries from their wheels, which torch brings; else the system's are found."""
    if hasattr(_ort, "preload_dlls"):
        _ort.preload_dlls()


def _probe_model() -> bytes:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "probe",
        [value("x", TensorProto.FLOAT, [1])],
        [value("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _translate(error: Exception) -> Exception:
    text = str(error).lower()
    if any(sign in text for sign in _LOST):
        return DeviceLost(_first_line(error))
    if any(sign in text for sign in _MEMORY):
        return OutOfMemory(_first_line(error))
    return ModelFailed(_first_line(error))


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:500]


def _as_text(array: Array) -> Array:
    """ONNX strings are text."""
    flat = np.empty(array.size, object)
    try:
        flat[:] = [element.decode() for element in array.flat]
    except UnicodeDecodeError:
        raise ModelFailed("an element of a string input is not UTF-8") from None
    return flat.reshape(array.shape)


def _require_specs(path: str, specs: Sequence[TensorSpec], found: Sequence[Any]) -> None:
    """The manifest's tensors are in the file: same names, datatypes, ranks and fixed sizes."""
    by_name = {node.name: node for node in found}
    for spec in specs:
        node = by_name.get(spec.name)
        if node is None:
            raise ModelRefused(f"{path}: has no {spec.name!r}, only {sorted(by_name)}")
        if _TYPES.get(node.type) != spec.datatype:
            raise ModelRefused(
                f"{path}: {spec.name!r} is {node.type}, the manifest says {spec.datatype}"
            )
        sizes: Sequence[object] = node.shape
        if sizes and not _fits(sizes, spec.shape):
            raise ModelRefused(
                f"{path}: {spec.name!r} has the shape {list(sizes)},"
                f" the manifest says {list(spec.shape)}"
            )


def _fits(sizes: Sequence[object], wanted: Sequence[int]) -> bool:
    """`sizes` are the file's: a number, or a name or None where it varies."""
    return len(sizes) == len(wanted) and all(
        not isinstance(size, int) or size == size_wanted
        for size, size_wanted in zip(sizes, wanted, strict=True)
    )
