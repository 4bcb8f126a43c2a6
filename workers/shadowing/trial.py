"""A sample through a shadow: computed as a live batch would be, and compared with what was served.

The fastest tier whose breaker admits it computes, the next when it fails; a batch that fails is
halved until the culprits are alone. An error where there was an answer is the shadow's error, and a
disagreement. So is a request that the shadow does not take: it has other inputs, or takes fewer rows.
`tests/workers/shadowing/test_trial.py`.
"""

import time
from typing import NamedTuple

import numpy as np

from chimera.schemas.errors import ModelFailed, OutOfMemory
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.tensors import DATATYPES, Array
from chimera.workers.backends.protocol import DeviceLost
from chimera.workers.dispatching.tiering import Attempt, Tier
from chimera.workers.repertoire import Served
from chimera.workers.shadowing.samples import Sample
from chimera.workers.verification.agreement import Answered, agreeing


class Finding(NamedTuple):
    """Of the requests of a sample."""

    compared: int
    disagreed: int  # errors among them
    errors: int
    compute_us: int = 0


class Trial:
    """Of one sample."""

    def __init__(self, shadow: Served, sample: Sample) -> None:
        self._shadow, self._sample = shadow, sample
        self._are_rows = shadow.batches and sample.served.batches
        self._error: BaseException | None = None
        self._computing_ns = 0

    def run(self) -> Finding:
        """Let the shadow compute it.

        Raises:
            DeviceLost: the executor has to end.
            NotNow: none of the shadow's tiers takes a call now.
        """
        count = len(self._sample)
        if not self._is_taken():
            return Finding(count, count, count)
        made: list[Finding] = []

        def attempt(tier: Tier) -> Attempt:
            before_ns, self._error = self._computing_ns, None
            made.append(self._attempt(tier, self._sample))
            took_us = (self._computing_ns - before_ns) // 1000
            return Attempt(count, count - made[-1].errors, self._error, took_us)

        self._shadow.tiers.compute(self._sample.rows, attempt)
        best = min(made, key=lambda one: one.errors)
        return best._replace(compute_us=self._computing_ns // 1000)

    def _is_taken(self) -> bool:
        ours, theirs = self._shadow.manifest, self._sample.served.manifest
        if {spec.name for spec in ours.inputs} != {spec.name for spec in theirs.inputs}:
            return False
        inputs = zip(ours.inputs, _inputs(ours, self._sample), strict=True)
        return all(_fits(spec, array) for spec, array in inputs)

    def _attempt(self, tier: Tier, sample: Sample) -> Finding:
        """Together, where rows of requests may be; in halves, as often as it takes, if that fails."""
        if self._are_rows or len(sample) == 1:
            try:
                return self._compared(tier, sample)
            except DeviceLost:
                raise
            except (MemoryError, OutOfMemory) as error:
                self._error = self._error or OutOfMemory(str(error) or "it does not fit")
            except Exception as error:  # noqa: BLE001  # a model may raise anything; it is counted
                self._error = self._error or ModelFailed(f"{type(error).__name__}: {error}")
        if len(sample) == 1:
            return Finding(1, 1, 1)
        middle = len(sample) // 2
        first = self._attempt(tier, sample.cut(0, middle))
        second = self._attempt(tier, sample.cut(middle, len(sample)))
        return Finding(*(one + other for one, other in zip(first, second, strict=True)))

    def _compared(self, tier: Tier, sample: Sample) -> Finding:
        manifest, limit = self._shadow.manifest, self._shadow.policy.max_batch_size
        sizes = np.diff(sample.ends, prepend=0)
        if self._shadow.batches and len(sample) == 1 and sizes[0] > limit:
            raise ModelFailed(f"a batch of {sizes[0]} rows, it takes {limit}")
        started_ns = time.monotonic_ns()
        try:
            found = tier.backend.run(_inputs(manifest, sample))
        finally:
            self._computing_ns += time.monotonic_ns() - started_ns
        outputs = [np.asarray(output) for output in found]
        served = sample.outputs
        if not self._are_rows:  # one request, compared as a whole
            outputs, served = [one[None] for one in outputs], [one[None] for one in served]
        elif any(len(output) != sample.rows for output in outputs):
            self._error = ModelFailed(f"an output has not the {sample.rows} rows of its batch")
            return Finding(len(sample), len(sample), len(sample))  # as they would all be answered
        agreed = agreeing(
            Answered(sample.served.manifest, sample.tier, served),
            Answered(manifest, tier.name, outputs),
        )
        if self._are_rows:
            agreed = np.logical_and.reduceat(agreed, sample.ends - sizes)
        return Finding(len(sample), int(np.count_nonzero(~agreed)), 0)


def _inputs(manifest: Manifest, sample: Sample) -> list[Array]:
    """The sample's, in another manifest's order."""
    specs = sample.served.manifest.inputs
    by_name = {spec.name: array for spec, array in zip(specs, sample.inputs, strict=True)}
    return [by_name[spec.name] for spec in manifest.inputs]


def _fits(spec: TensorSpec, array: Array) -> bool:
    """Whether a request like these would have been taken, but for its rows."""
    datatype = DATATYPES[spec.datatype]
    return (
        array.dtype == datatype.dtype
        and array.ndim == len(spec.shape)
        and all(
            wanted in (-1, size)
            for size, wanted in zip(array.shape[1:], spec.shape[1:], strict=True)
        )
    )
