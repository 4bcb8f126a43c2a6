"""Tiers 5 and 8: AOTInductor makes native code of a captured module.

It takes half a minute and a C++ compiler, and every cache is left out, so that the time it reports
is what it takes. The number of threads is built into the code for a processor.
`tests/workers/compiling/test_pipeline.py` makes one. For a GPU it was never run here.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportPrivateUsage=false
# (torch's functions are typed in part; its documented entry to AOTInductor begins with _)

import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
import torch._inductor as inductor
from torch._inductor import config
from torch._inductor.utils import fresh_cache
from torch.export import ExportedProgram

from chimera.schemas.errors import CompileFailed
from chimera.workers.backends.torch_calls import first_line


def compile_package(program: ExportedProgram, path: Path, threads: int) -> None:
    """Write `path`, which ends in .pt2.

    Raises:
        CompileFailed: names the compiler's first complaint.
    """
    try:
        with torch.no_grad(), fresh_cache():
            inductor.aoti_compile_and_package(
                program, package_path=str(path), inductor_configs=_options(threads)
            )
    except Exception as error:  # noqa: BLE001  # its exceptions share no other class
        raise CompileFailed(f"AOTInductor: {first_line(error)}") from None


def _options(threads: int) -> dict[str, object]:
    """Headers that are compiled ahead pay only with a cache: 9 s of processor time, not 13."""
    return {"cpp.threads": threads, "aot_inductor.precompile_headers": False}


def has_compiler() -> bool:
    """Whether any C++ compiler that AOTInductor would take is on the path."""
    candidates: Iterable[str | None] = config.cpp.cxx
    return any(name is not None and shutil.which(name) for name in candidates)
