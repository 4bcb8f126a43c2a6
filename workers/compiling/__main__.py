"""Compiles one version in a process of its own.

    python -m chimera.workers.compiling [--without-native] FOLDER OUT [TIER ...]

Native code is for whoever started it to sign: no key comes in here. Standard output gets one JSON
line a step; the report lies in OUT. Whoever starts it reads steps until it ends; exit status 1 means
that the version was refused, with the reason on standard error. An end by a signal is a compiler's or
an artifact's crash, and leaves no report. It dies with whoever started it, where the kernel sees to that,
and gives way to whatever else the machine does, compilers and all: lanes that serve beside it go first,
so what it measures on a busy machine is noisy, for all tiers alike (`measurement.py`).
`tests/workers/compiling/test_pipeline.py` starts it.
"""

import ctypes
import signal
import sys
from pathlib import Path

import msgspec

from chimera.schemas.compile_report import Step
from chimera.schemas.errors import ChimeraError
from chimera.schemas.settings import load
from chimera.workers import once
from chimera.workers.aside import BESIDE, give_way

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    _die_with_parent()
    from chimera.workers.compiling.pipeline import Targets, compile  # torch, once it gives way

    native = arguments[:1] != ["--without-native"]
    folder, out, *tiers = arguments if native else arguments[1:]
    try:
        settings = load()
        targets = Targets(
            tuple(tiers),
            threads=settings.serving.threads,
            max_rows=settings.batching.max_batch_size,
            definitions=settings.artifacts.definitions,
            native=native,
        )
        compile(Path(folder), targets, Path(out), settings.compiling, _tell)
    except ChimeraError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _die_with_parent() -> None:
    """One whose parent is gone already ends with its first step, which nobody reads."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _tell(step: Step) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(step) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    give_way(BESIDE)
    once.load_much()
    once.leave(main(sys.argv[1:]))
