"""Tiers 1 and 2: a TensorRT engine, with one execution context for each optimisation profile.

Device memory is torch's, which every process of these tiers has anyway. A batch runs in the first
profile that takes its rows. NEVER RUN: no machine with TensorRT was at hand. It is type-checked
against `typings/tensorrt`; the tiers are experimental until a report from a device exists.
"""

# pyright: reportUnknownMemberType=false, reportMissingModuleSource=false
# (TensorRT is not installed; torch's functions are typed in part)

import tensorrt as trt
import torch
from torch import Tensor

from chimera.schemas.errors import ModelFailed, ModelRefused
from chimera.schemas.manifest import Manifest
from chimera.workers.backends.torch_calls import TorchCall, device_of
from chimera.workers.compiling.tensorrt_plan import Plan, profile_of

_TYPES = {
    trt.DataType.FLOAT: torch.float32,
    trt.DataType.HALF: torch.float16,
    trt.DataType.BF16: torch.bfloat16,
    trt.DataType.INT8: torch.int8,
    trt.DataType.INT32: torch.int32,
    trt.DataType.INT64: torch.int64,
    trt.DataType.BOOL: torch.bool,
    trt.DataType.UINT8: torch.uint8,
}


class TensorrtEngine:
    """Loads engines on `device`: `cuda:<index>`."""

    def __init__(self, device: str, tier: str) -> None:
        """Raises ConfigurationError: there is no such device, or it cannot be used."""
        self._device = device_of(device)
        self._tier = tier
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))

    def load(self, manifest: Manifest, engine: bytes, made: Plan) -> TorchCall:
        """Raises ModelRefused: it was built for another GPU or another TensorRT."""
        with torch.cuda.device(self._device):
            found = self._runtime.deserialize_cuda_engine(engine)
            if found is None:
                raise ModelRefused(f"{manifest.name}/{manifest.version}: no engine for this GPU")
            call = _Engine(found, manifest, made, self._device)
        return TorchCall(call, manifest, self._device, self._tier)


class _Engine:
    """Tensors of the device in, tensors of the device out."""

    def __init__(
        self, engine: trt.ICudaEngine, manifest: Manifest, made: Plan, device: torch.device
    ) -> None:
        self._engine = engine
        self._made = made
        self._device = device
        self._batches = manifest.batches
        self._inputs = [spec.name for spec in manifest.inputs]
        self._outputs = [spec.name for spec in manifest.outputs]
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch types it not
        self._contexts = [self._context(index) for index in range(len(made.profiles))]

    def _context(self, profile: int) -> trt.IExecutionContext:
        context = self._engine.create_execution_context()
        context.set_optimization_profile_async(profile, self._stream.cuda_stream)
        self._stream.synchronize()
        return context

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        rows = tensors[0].shape[0] if self._batches else 1
        try:
            context = self._contexts[profile_of(self._made, rows) if self._batches else 0]
        except ValueError as error:
            raise ModelFailed(str(error)) from None
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        kept = [tensor.contiguous() for tensor in tensors]  # until the stream is done with them
        for name, tensor in zip(self._inputs, kept, strict=True):
            context.set_input_shape(name, tuple(tensor.shape))
            context.set_tensor_address(name, tensor.data_ptr())
        outputs = self._make_outputs(context)
        if not context.execute_async_v3(self._stream.cuda_stream):
            raise ModelFailed("TensorRT refused the batch")
        self._stream.synchronize()
        return outputs

    def _make_outputs(self, context: trt.IExecutionContext) -> list[Tensor]:
        outputs: list[Tensor] = []
        for name in self._outputs:
            dtype = _TYPES[self._engine.get_tensor_dtype(name)]
            found = context.get_tensor_shape(name)
            shape = [found[axis] for axis in range(len(found))]
            tensor = torch.empty(shape, dtype=dtype, device=self._device)
            context.set_tensor_address(name, tensor.data_ptr())
            outputs.append(tensor)
        return outputs
