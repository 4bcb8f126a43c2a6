"""Where an artifact runs: a key of the processor or GPU, and of the library that will load it.

An optimised graph holds choices made for one processor's instructions, and native code holds the
instructions themselves: on another one it is slow, or ends the process. Keys are pure functions of
what `machine` reads; what a kernel adds to a processor's flags, and may add otherwise after its next
start, is not in them. `tests/workers/compiling/test_targets.py`.
"""

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from chimera.schemas.tiers import Tier

_INSTRUCTIONS = (  # how x86 flags begin that a compiler or a kernel library goes by
    "sse", "ssse", "pni", "mmx", "3dnow", "avx", "amx", "fma", "f16c", "xop", "tbm", "bmi", "abm",
    "popcnt", "movbe", "adx", "aes", "vaes", "pclmul", "vpclmul", "sha", "gfni", "cx16", "cmov",
)  # fmt: skip
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
        if name.strip() == "flags":
            return frozenset(flag for flag in value.split() if flag.startswith(_INSTRUCTIONS))
        if name.strip() == "Features":
            return frozenset(value.split())
    return frozenset()


def of_cpu(tier: Tier, threads: int) -> str:
    """The key of this machine, for a processor's tier in an executor with so many threads."""
    builds_threads_in = tier.library == "torch" and tier.compiled
    return here(tier.library, threads if builds_threads_in else 0)


@cache
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
