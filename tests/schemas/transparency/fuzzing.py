"""Parsers of evidence, fuzzed for as long as they are let: they raise nothing but a typed error.

    pip install atheris
    python -m tests.schemas.transparency.fuzzing notes -max_total_time=60

One of `TARGETS` at a time; what follows goes to libFuzzer. atheris is no dependency: hypothesis goes
over the same parsers whenever the tests run. `test_fuzzing.py` reads the seeds.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

from chimera.schemas.errors import EvidenceRefused
from chimera.schemas.transparency import (
    checkpoints,
    notes,
    policy_file,
    proof_file,
    verifier_keys,
    witnessing,
)
from chimera.schemas.transparency.checkpoints import log_key
from chimera.schemas.transparency.merkle import prove_consistency, prove_inclusion
from chimera.schemas.transparency.proof_file import Proof
from chimera.schemas.transparency.witnessing import Submission
from tests.schemas.transparency.logs import KEY, ORIGIN, make_log

_LOG = make_log(11)
_NOTE = _LOG.checkpoint(11, "w1", "w2")
_PROOF = Proof(_LOG.bodies[6], 6, tuple(prove_inclusion(_LOG.leaf_hashes, 6)), _NOTE)
_EXTENDS = tuple(prove_consistency(_LOG.leaf_hashes, 4))


class Target(NamedTuple):
    """A parser, and something that it takes."""

    decode: Callable[[bytes], object]
    seed: bytes

    def attempt(self, raw: bytes) -> None:
        """Raises whatever it should not."""
        with suppress(EvidenceRefused):
            self.decode(raw)


TARGETS = {
    "notes": Target(notes.decode, _NOTE),
    "proofs": Target(proof_file.decode, _PROOF.encode()),
    "requests": Target(
        witnessing.decode, Submission(4, _EXTENDS, _LOG.note(11), _LOG.head(11)).encode()
    ),
    "policies": Target(
        partial(policy_file.decode, path="fuzzed"),
        f"log {log_key(ORIGIN, KEY).text} sizes:0-\nquorum none\n".encode(),
    ),
}


def _functions() -> Iterator[FunctionType]:
    """Those whose branches count as news: of the modules that parse, and of their classes."""
    for module in (checkpoints, notes, policy_file, proof_file, verifier_keys, witnessing):
        for one in vars(module).values():
            if getattr(one, "__module__", None) != module.__name__:
                continue
            inside = vars(one).values() if isinstance(one, type) else (one,)
            yield from (each for each in inside if isinstance(each, FunctionType))


def main(name: str, *arguments: str) -> None:
    atheris: Any = import_module("atheris")  # who fuzzes installs it
    target = TARGETS[name]
    for function in _functions():
        atheris.instrument_func(function)
    with tempfile.TemporaryDirectory(prefix="chimera-fuzz-") as corpus:
        (Path(corpus) / "seed").write_bytes(target.seed)
        atheris.Setup([sys.argv[0], *arguments, corpus], target.attempt)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
