"""Where an artifact runs: a key of the processor or GPU, and of the library that will load it.

An optimised graph holds choices made for one processor's instructions, and native code holds the
instructions themselves: on another one it is slow, or ends the process. Keys are pure functions of
what `machine` reads. `tests/workers/compiling/test_targets.py`.
"""

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

LIBRARIES = ("torch", "onnxruntime-gpu", "onnxruntime", "onnx", "tensorrt")


def cpu_target(architecture: str, flags: Iterable[str], library: str, threads: int = 0) -> str:
    """`threads`: of code that has their number built in; 0: it has not."""
    return "cpu-" + _digest((architecture, *sorted(set(flags)), library, str(threads)))


def gpu_target(name: str, capability: tuple[int, int], driver: str, library: str) -> str:
    """`capability`: CUDA's compute capability, for example (9, 0)."""
    return "cuda-" + _digest((name, f"{capability[0]}.{capability[1]}", driver, library))


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """The instruction sets in Linux' /proc/cpuinfo; `Features` is its name on Arm."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def here(library: str, threads: int = 0) -> str:
    """The key of this machine's processor, and of a library's version as installed."""
    return cpu_target(platform.machine(), cpu_flags(_cpuinfo()), installed(library), threads)


def machine() -> dict[str, str]:
    """What a report says about where it was made; names no host."""
    lines = _cpuinfo().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    found = {name: version for name in LIBRARIES if (version := _version(name))}
    return {
        "processor": next(names, platform.processor() or "unknown"),
        "cores": str(os.cpu_count() or 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **found,
    }


def installed(library: str) -> str:
    """Name and version; of ONNX Runtime whichever of its two builds is there."""
    names = ("onnxruntime-gpu", "onnxruntime") if library == "onnxruntime" else (library,)
    return next((f"{name} {v}" for name in names if (v := _version(name))), f"{library} none")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
