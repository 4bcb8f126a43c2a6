"""What the sequencer counts, for Prometheus: how far it is behind, and what is signed.

A checkpoint says no time, so its age after a start is that of the file it was kept in.
`tests/integration/test_sequencer.py` scrapes it.
"""

import time
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class SequencerMetrics:
    """One set, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        gauge = partial(Gauge, registry=self.registry)
        self.leaves = Counter(
            "chimera_sequencer_leaves", "Leaves committed", registry=self.registry
        )
        self.lag_records = gauge(
            "chimera_sequencer_lag_records",
            "Records on the broker that have no leaves yet",
            ["topic", "partition"],
        )
        self.transaction_seconds = Histogram(
            "chimera_sequencer_transaction_seconds",
            "One commit of leaves, positions and checkpoints",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.log_leaves = gauge("chimera_audit_log_leaves", "Leaves of the audit log")
        self.checkpoint_leaves = gauge(
            "chimera_checkpoint_leaves", "Leaves that the last checkpoint covers"
        )
        self.witness_answers = Counter(
            "chimera_witness_answers",
            "Checkpoints that a witness was asked to cosign, by what became of it",
            ["witness", "result"],
            registry=self.registry,
        )
        age = gauge("chimera_checkpoint_age_seconds", "Since the last checkpoint was signed")
        age.set_function(lambda: time.time() - self._signed_at_s)
        self._signed_at_s = float("nan")  # none was

    def signed(self, leaves: int, at_s: float) -> None:
        """A checkpoint of so many; seconds since the epoch."""
        self.checkpoint_leaves.set(leaves)
        self._signed_at_s = at_s

    def answered(self, witness: str, result: str) -> None:
        """By its key's name: cosigned, silent, refused or contradicts."""
        self.witness_answers.labels(witness, result).inc()
