"""What a hand-written consumer does with requests: decode, stack, run, encode; no validation.

It needs orjson, numpy and onnxruntime alone, so every rival's environment can have it. One compute
thread for each process, as our executors have.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (onnxruntime ships no type information)

from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # ships no type information
import orjson


class Model:
    """One ONNX session over requests of one input of shape [1, n]."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    def process(self, values: list[bytes]) -> list[bytes]:
        """A batch of request values to result values, in order."""
        requests = [orjson.loads(value) for value in values]
        stacked = np.array([one["inputs"][0]["data"] for one in requests], dtype=np.float32)
        rows = self._session.run(None, {"x": stacked})[0]
        return [_result(one["id"], row) for one, row in zip(requests, rows, strict=True)]

    def one(self, request: dict[str, Any]) -> bytes:
        """One decoded request to its result value."""
        stacked = np.array([request["inputs"][0]["data"]], dtype=np.float32)
        return _result(request["id"], self._session.run(None, {"x": stacked})[0][0])

    def run(self, stacked: "np.ndarray[Any, Any]") -> Any:
        """Rows to rows."""
        return self._session.run(None, {"x": stacked})[0]


def _result(request_id: str, row: "np.ndarray[Any, Any]") -> bytes:
    output = {"name": "y", "shape": [1, len(row)], "datatype": "FP32", "data": row}
    return orjson.dumps(
        {"id": request_id, "model_name": "digits", "outputs": [output]},
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
