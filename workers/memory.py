"""How much memory is taken, where an executor's models rest: the process's, or the device's.

On the processor it is the resident set (Linux; elsewhere nothing is known). On a GPU it is what the
driver says is taken of the whole device, by whichever library: ONNX Runtime's memory is in no figure
of torch's. Others that load at the same moment are counted in. The GPU's part was NEVER RUN here: no
device was at hand. `tests/workers/test_memory.py`.
"""

import ctypes
import os
from pathlib import Path

_STATM = Path("/proc/self/statm")


def taken_bytes(device: str) -> int:
    """On `device`: `cpu` or `cuda:<index>`; 0 where nobody can say."""
    kind, _, index = device.partition(":")
    return _of_gpu(int(index or 0)) if kind == "cuda" else _resident()


def _resident() -> int:
    if not _STATM.exists():
        return 0
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _of_gpu(index: int) -> int:
    """By CUDA's driver, in the context that the libraries of this process share."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    device, context = ctypes.c_int(), ctypes.c_void_p()
    free, whole = ctypes.c_size_t(), ctypes.c_size_t()
    if (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(device), index)
        or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    ):
        return 0
    try:
        if cuda.cuCtxPushCurrent_v2(context):
            return 0
        failed = cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(whole))
        cuda.cuCtxPopCurrent_v2(ctypes.byref(context))
    finally:
        cuda.cuDevicePrimaryCtxRelease_v2(device)
    return 0 if failed else whole.value - free.value
