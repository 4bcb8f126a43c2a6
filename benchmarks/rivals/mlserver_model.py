"""MLServer's Kafka mode with its adaptive batching; the model as a custom runtime.

MLServer starts reading at a topic's end and answers requests with a header `mlserver-model`, so it
is started first and gets its requests as a burst. `benchmarks.contenders` writes its settings.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUntypedBaseClass=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# (MLServer is not in the project's environment)

import os
from typing import Any

import numpy as np
from mlserver import MLModel  # type: ignore[import-not-found]  # has an environment of its own
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found]  # the same
from mlserver.types import InferenceResponse  # type: ignore[import-not-found]  # the same

from benchmarks.rivals.compute import Model


class Digits(MLModel):  # type: ignore[misc]  # its base is unknown here
    """The ONNX model behind MLServer's interface."""

    async def load(self) -> bool:
        self._model = Model(os.environ["BENCH_MODEL"])
        return True

    async def predict(self, payload: Any) -> Any:
        tensor = payload.inputs[0]
        data = getattr(tensor.data, "root", tensor.data)
        rows = self._model.run(np.asarray(data, dtype=np.float32).reshape(tensor.shape))
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("y", rows)]
        )
