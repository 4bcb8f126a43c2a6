"""A reference's answers to all cases, and a backend's verdict against them.

    expect(reference, cases) -> Expected         once
    judge(backend, expected, tolerance) -> Judgement      for each artifact

What the reference itself refuses, or answers in a way that other rows of the batch notice, is no
input that the model allows: the case is left out, with its reason. Knows no runtime: whatever has
`run` can be either side. `tests/workers/verification/test_verdicts.py` breaks backends on purpose.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from chimera.schemas.compile_report import Check, Tolerance
from chimera.schemas.errors import ChimeraError
from chimera.schemas.manifest import Manifest
from chimera.schemas.tensors import Array
from chimera.workers.backends.protocol import Backend, DeviceLost
from chimera.workers.verification.cases import NAN, Case, poisoned_row
from chimera.workers.verification.comparison import compare


@dataclass(frozen=True, slots=True)
class Expected:
    """What the reference answers; `left_out` has the cases that it does not allow."""

    manifest: Manifest
    answers: tuple[tuple[Case, tuple[Array, ...]], ...]
    left_out: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Judgement:
    """Verified if no check has a reason."""

    checks: tuple[Check, ...]

    @property
    def reason(self) -> str:
        """The first check that does not pass, and why; empty: all do."""
        failed = next((check for check in self.checks if check.reason), None)
        return f"{failed.case}@{failed.rows}: {failed.reason}" if failed else ""


def expect(manifest: Manifest, reference: Backend, cases: Sequence[Case]) -> Expected:
    """Run the reference on every case.

    Raises:
        ChimeraError: it cannot answer even the samples.
    """
    answers: list[tuple[Case, tuple[Array, ...]]] = []
    left_out: dict[str, str] = {}
    for case in cases:
        name = f"{case.name}@{case.rows}"
        try:
            outputs = tuple(np.array(output) for output in reference.run(case.inputs))
        except ChimeraError as error:
            if not case.edge or isinstance(error, DeviceLost):
                raise
            left_out[name] = f"the reference refuses it: {error}"
            continue
        if case.name == NAN and (why := _why_no_nan(manifest, case, outputs)):
            left_out[name] = why
            continue
        answers.append((case, outputs))
    return Expected(manifest, tuple(answers), left_out)


def judge(backend: Backend, expected: Expected, tolerance: Tolerance) -> Judgement:
    """Run a backend on every case that the reference answered.

    Raises:
        DeviceLost: there is nothing left to judge on.
    """
    return Judgement(
        tuple(
            _check(backend, expected.manifest, case, outputs, tolerance)
            for case, outputs in expected.answers
        )
    )


def _check(
    backend: Backend,
    manifest: Manifest,
    case: Case,
    expected: Sequence[Array],
    tolerance: Tolerance,
) -> Check:
    try:
        found: Sequence[Array] = [np.asarray(output) for output in backend.run(case.inputs)]
    except DeviceLost:
        raise
    except (ChimeraError, MemoryError) as error:
        return Check(case.name, case.rows, None, f"{type(error).__name__}: {error}")
    if case.name == NAN:
        expected, found = _without_answers_to_nan(case, expected, found)
    errors, reason = compare(manifest.outputs, expected, found, tolerance, edge=case.edge)
    return Check(case.name, case.rows, errors, reason)


def _without_answers_to_nan(
    case: Case, expected: Sequence[Array], found: Sequence[Array]
) -> tuple[Sequence[Array], Sequence[Array]]:
    """Integers made of NaN are anybody's: their row is left out; that of floats has to be NaN."""
    row = poisoned_row(case.rows)

    def kept(outputs: Sequence[Array], at: int) -> Array:
        output = outputs[at]
        exact = expected[at].dtype.kind != "f" and output.shape[:1] == (case.rows,)
        return np.delete(output, row, 0) if exact else output

    if len(found) != len(expected):
        return expected, found
    indexes = range(len(expected))
    return [kept(expected, at) for at in indexes], [kept(found, at) for at in indexes]


def _why_no_nan(manifest: Manifest, case: Case, outputs: Sequence[Array]) -> str:
    """NaN is allowed where it comes out of its own row, and of no other."""
    if not manifest.batches:
        return "a model without batches is not asked about NaN"
    row, seen = poisoned_row(case.rows), False
    for output in outputs:
        if output.dtype.kind != "f":
            continue
        unknown = np.isnan(output).reshape(len(output), -1)
        if np.delete(unknown, row, 0).any():
            return "in the reference NaN spreads to other rows"
        seen = seen or bool(unknown[row].any())
    return "" if seen else "the reference does not pass NaN on"
