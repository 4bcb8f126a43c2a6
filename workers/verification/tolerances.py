"""How far an artifact of a precision may be from the eager fp32 reference; each report repeats it.

fp32 allows for another order of additions. Narrower floats and int8 are close only on inputs like
the samples: far from them (a softmax of large numbers) a small relative error may become a large one,
so there they promise no more than NaN and Inf in the same places. `tests/workers/verification/`.
"""

from chimera.schemas.compile_report import Precision, Tolerance

TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(2e-5, 1e-3, 0.99999, 0.999, "close"),
    "fp16": Tolerance(5e-3, 2e-2, 0.9999, 0.99, "finite"),
    "bf16": Tolerance(3e-2, 5e-2, 0.999, 0.98, "finite"),
    "int8": Tolerance(5e-2, 1e-1, 0.995, 0.97, "finite"),
}
