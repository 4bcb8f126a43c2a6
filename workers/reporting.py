"""What an executor says of its work beside the answers: at most once a second, if there is anything.

It counts what was computed. Errors are the node's to count: it alone knows which of them are final.
A request's latency runs from its work's entry into the lane's window to its answer, queues and all;
a batch's pace is the work for it alone: the executor's processor time, from its requests' values to
their answers, or, where a device computes, the time that this takes.
What was not sent when an executor ends is lost. `tests/workers/test_reporting.py`.
"""

import os
import time
from collections.abc import Callable, Sequence

from chimera.schemas.responses import Plain, Response
from chimera.workers.computation import Answers, Batch
from chimera.workers.reports import Report, TierTransition, VersionSeen, frame_report
from chimera.workers.shadowing.counts import Counts
from chimera.workers.tasks import Task
from chimera.workers.watching.tallies import Tallies

EVERY_NS = 1_000_000_000


class Reporting:
    """Of one executor; `send` takes a frame."""

    def __init__(
        self,
        slot: str,
        send: Callable[[bytes], None],
        transitions: Callable[[], list[TierTransition]] = list,
        *,
        is_on_cpu: bool = True,
    ) -> None:
        """`transitions` tells what became of breakers since it was asked last."""
        self.tallies = Tallies()
        self.shadows = Counts(self.tallies)
        self._slot = slot
        self._is_on_cpu = is_on_cpu
        self._transitions = transitions
        self._send = send
        self._sent_ns = 0

    def count(self, tasks: Sequence[Task], batch: Batch, worked_ns: int) -> None:
        """A batch whose answers were just sent; `worked_ns`: processor time of this thread for it."""
        manifest = tasks[0].route.served.manifest
        now_ns = time.monotonic_ns()
        all_computed = 0
        for task, answers in zip(tasks, batch.answers, strict=True):
            if computed := _computed(answers):
                latency_us = max(0, now_ns - task.held.work.entered_ns) // 1000
                self.tallies.computed(manifest.name, manifest.version, computed, latency_us)
                all_computed += computed
        if all_computed:
            took_us = worked_ns // 1000 if self._is_on_cpu else batch.compute_us
            self.tallies.worked(manifest.name, manifest.version, batch.rows, took_us)

    def send_due(self, now_ns: int) -> None:
        """Called often; mostly it is not time yet."""
        if now_ns - self._sent_ns < EVERY_NS:
            return
        self._sent_ns = now_ns
        versions = tuple(
            VersionSeen(model, version, observation.seen())
            for (model, version), observation in self.tallies.take().items()
        )
        transitions, shadows = tuple(self._transitions()), self.shadows.take()
        if versions or transitions or shadows:
            report = Report(self._slot, versions, transitions, os.getpid(), shadows)
            self._send(frame_report(report))


def _computed(answers: Answers) -> int:
    if isinstance(answers, Plain):
        return len(answers)
    return sum(isinstance(answer, Response) for answer in answers)
