"""ONNX graphs in other precisions: int8 for processors, fp16 for GPUs.

int8 is dynamic: weights are stored as int8, activations are scaled anew in each batch. The graph's
shapes are inferred first, without which exported graphs cannot be quantised. fp16 keeps the types of
inputs and outputs. `tests/workers/compiling/test_graphs.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# (ONNX Runtime ships no type information)

import logging
import tempfile
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]
from onnxruntime.quantization.shape_inference import (  # type: ignore[import-untyped]
    quant_pre_process,
)

from chimera.schemas.errors import CompileFailed


def to_int8(graph: bytes) -> bytes:
    """Raises CompileFailed."""
    chatty = logging.getLogger()
    level = chatty.level
    with tempfile.TemporaryDirectory(prefix="chimera-int8-") as folder:
        plain, inferred, made = (Path(folder) / name for name in ("plain", "inferred", "int8"))
        plain.write_bytes(graph)
        try:
            chatty.setLevel(logging.ERROR)  # it advises, on the root logger, what was just done
            quant_pre_process(str(plain), str(inferred), auto_merge=True)
            quantize_dynamic(
                str(inferred), str(made), weight_type=QuantType.QInt8, per_channel=True
            )
        except Exception as error:  # noqa: BLE001  # its exceptions share no other class
            raise CompileFailed(f"int8: {_told(error)}") from None
        finally:
            chatty.setLevel(level)
        return made.read_bytes()


def to_fp16(graph: bytes) -> bytes:
    """Raises CompileFailed."""
    from onnxruntime.transformers.float16 import (  # type: ignore[import-untyped]
        convert_float_to_float16,
    )

    try:
        convert: Any = convert_float_to_float16
        converted = convert(onnx.ModelProto.FromString(graph), keep_io_types=True)
        return bytes(converted.SerializeToString())
    except Exception as error:  # noqa: BLE001  # its exceptions share no other class
        raise CompileFailed(f"fp16: {_told(error)}") from None


def _told(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:500]
