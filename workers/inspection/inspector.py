"""Inspection of a stranger's folder, seen from outside: a folder in, a manifest or a refusal out.

Each one is a process of its own that has given up what it does not need (`confinement`), with an
empty environment, so no secret of ours is in its memory. One that ends in any other way than with
a verdict (a signal, a limit, its time) has refused. `tests/workers/test_inspection.py`.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from chimera.schemas.definitions import require_allowed
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import MANIFEST_FILE, MAX_FILES, Manifest
from chimera.workers.inspection.confinement import MAX_ANSWER_BYTES
from chimera.workers.inspection.rules import Rules
from chimera.workers.inspection.verdicts import Question, accepted

ENTRY = (sys.executable, "-I", "-m", "chimera.workers.inspection")
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}  # threads reserve address space
BYTES_PER_CPU_S = 128 << 20  # read, parsed and hashed; five times as many were measured
CLOCK_TIMES = 4  # wall clock for each processor second: the machine has other work


def inspect(folder: Path, rules: Rules) -> Manifest:
    """The folder's manifest, complete with the digest of each file as it was inspected.

    Whoever stores the files compares: they may be others by then.

    Raises:
        ModelRefused: a file must not be served, or reading it took more than it may; says which.
        ConfigurationError: the list of definitions has a line that is none.
    """
    total_bytes, largest_graph = _sizes(folder)
    cpu_s = rules.cpu_s + total_bytes // BYTES_PER_CPU_S
    memory_bytes = rules.memory_bytes + 3 * largest_graph
    limits = (str(memory_bytes), str(cpu_s), str(os.getpid()))
    question = msgspec.json.encode(Question(str(folder.absolute()), rules))
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaint:
        try:
            done = subprocess.run(
                [*ENTRY, *limits],
                input=question,
                stdout=answer,
                stderr=complaint,
                env=ENVIRONMENT,
                check=False,
                timeout=CLOCK_TIMES * cpu_s,
                process_group=0,
            )
        except subprocess.TimeoutExpired:
            raise ModelRefused(f"{folder}: inspecting it took {CLOCK_TIMES * cpu_s} s") from None
        for stream in (answer, complaint):
            stream.seek(0)
        if done.returncode != 0:
            raise ModelRefused(f"{folder}: {_why(done.returncode, complaint.read(4096))}")
        manifest = accepted(answer.read(MAX_ANSWER_BYTES), folder)
    if manifest.definition:
        require_allowed(manifest.definition, rules.definitions)
    return manifest


def _sizes(folder: Path) -> tuple[int, int]:
    """Bytes of all files, and of the largest graph: what the limits are made of, no more."""
    try:
        with os.scandir(folder) as found:
            sizes = [(entry.name, entry.stat(follow_symlinks=False)) for entry in found]
    except OSError as error:
        raise ModelRefused(f"{folder}: {error.strerror}") from None
    if len(sizes) > MAX_FILES:
        raise ModelRefused(f"{folder}: {len(sizes)} files, at most {MAX_FILES} are taken")
    if MANIFEST_FILE not in (name for name, _ in sizes):
        raise ModelRefused(f"{folder}: has no {MANIFEST_FILE}")
    graphs = [min(status.st_size, 2 << 30) for name, status in sizes if name.endswith(".onnx")]
    return sum(status.st_size for _, status in sizes), max(graphs, default=0)


def _why(status: int, complaint: bytes) -> str:
    """How a process ended that gave no verdict, with the last it said."""
    if status == -signal.SIGXCPU or status == -signal.SIGKILL:
        return "inspecting it took more processor time than allowed"
    lines = complaint.decode("ascii", "backslashreplace").strip().splitlines()
    last = f": {lines[-1][:200]}" if lines else ""
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"inspecting it ended with {how}{last}"
