"""Events of training: golden files of every version."""

from pathlib import Path
from typing import Any

import pytest

from chimera.schemas.training_events import (
    EVENT_VERSION,
    EVENTS,
    CheckpointSaved,
    DriftFound,
    Event,
    EventOmitted,
    LeftOut,
    PolicyFired,
    PolicyRemoved,
    PolicySet,
    RunCancelled,
    RunEvaluated,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunProgressed,
    RunQueued,
    RunStarted,
    ServedDriftFound,
    TriggerAnswered,
    VersionCompiled,
    VersionPromoted,
    VersionRegistered,
    VersionReplayed,
    VersionWithheld,
    decode_event,
    encode_event,
)
from chimera.schemas.training_manifest import Drift
from chimera.schemas.training_triggers import ConfigReference, TrainModel
from tests.workers.training.test_history import MANIFEST

GOLDEN = Path(__file__).with_name("golden")
WHO: Any = {"event_id": "e-1", "tenant": "acme", "at_ms": 1_763_762_400_000, "source": "trainer-1"}
RUN: Any = {**WHO, "run_id": "digits-0f", "model": "digits"}
POLICY: Any = {
    **WHO, "policy": "nightly", "model": "digits", "trigger_id": "t-5", "actor": "ada"
}  # fmt: skip
WRITTEN: dict[int, list[Event]] = {
    1: [
        TriggerAnswered(
            outcome="accepted", action="train", trigger_id="t-1", run_id="digits-0f", **WHO
        ),
        TriggerAnswered(outcome="refused", reasons=("no right", "no such file"), **WHO),
        RunQueued(
            trigger_id="t-1", actor="ada", reason="manual", priority=5, config_hash="0f" * 32,
            until="promoted", **RUN,
        ),
        RunStarted(attempt=1, device="cpu", **RUN),
        RunProgressed(
            attempt=1, epoch=0, update=7, updates=70, loss=0.5, lr=0.1, samples_per_s=1e4,
            eta_s=1.5, memory_bytes=10**8, **RUN,
        ),
        RunEvaluated(
            attempt=1, epoch=0, update=7, metrics={"val_loss": 0.25}, is_best=True, **RUN
        ),
        CheckpointSaved(attempt=1, update=7, path="checkpoints/00000007", is_best=True, **RUN),
        RunInterrupted(attempt=1, code="died", error="signal 9", **RUN),
        DriftFound(
            previous_run_id="digits-0e", columns=(Drift("x", "ks", 0.0, 1.0, 2.0, 1.0, True),),
            left_out=4_999, **RUN,
        ),
        DriftFound(
            previous_run_id="digits-0e", columns=(Drift("x", "ks", 0.0, 1.0, 2.0, 1.0, True),),
            **RUN,
        ),
        ServedDriftFound(
            policy="on-drift", rows=512, since_ms=1_763_676_000_000, until_ms=1_763_762_400_000,
            columns=(Drift("x", "ks", 0.0, 1.0, 2.0, 1.0, True),), left_out=4, **RUN,
        ),
        ServedDriftFound(
            policy="on-drift", rows=512, since_ms=1_763_676_000_000, until_ms=1_763_762_400_000,
            columns=(Drift("x", "ks", 0.0, 1.0, 2.0, 1.0, True),), **RUN,
        ),
        RunFinished(
            manifest=MANIFEST, left_out=LeftOut(compared=10_000, drifted=9, slices=0), **RUN
        ),
        RunFinished(manifest=MANIFEST, **RUN),
        RunFailed(code="hung", error="no step within 5 s", attempt=2, **RUN),
        RunCancelled(actor="ada", **RUN),
        VersionRegistered(version="digits-0f", manifest_sha256="0f" * 32, **RUN),
        VersionCompiled(version="digits-0f", **RUN),
        VersionPromoted(version="digits-0f", revision=3, **RUN),
        VersionWithheld(step="promote", error="it was not replayed", **RUN),
        VersionReplayed(
            version="digits-0f", verdict="passed", reason="", requests=560, disagreed=1,
            since_ms=1_763_758_800_000, until_ms=1_763_762_400_000, **RUN,
        ),
        PolicySet(cause="schedule", interval_s=21_600, **POLICY),
        PolicyRemoved(**POLICY),
        PolicyFired(
            cause="schedule", occasion="2026-11-22T00:00:00.000+00:00",
            order=TrainModel(
                trigger_id="nightly-0f", tenant="acme", actor="ada", reason="schedule",
                reference=ConfigReference(url="s3://runs/digits.yaml", sha256="0f" * 32),
            ),
            **POLICY,
        ),
        EventOmitted(kind="evaluated", size_bytes=2**21, run_id="digits-0f", **WHO),
    ]
}  # fmt: skip
"""What each version's golden file holds, a record a line, as this release understands it."""


def test_events_of_this_version_are_written_as_in_their_golden_file() -> None:
    golden = GOLDEN / f"training_events_v{EVENT_VERSION}.jsonl"
    lines = [encode_event(event) + b"\n" for event in WRITTEN[EVENT_VERSION]]
    assert b"".join(lines) == golden.read_bytes()


@pytest.mark.parametrize("version", range(1, EVENT_VERSION + 1))
def test_events_of_every_golden_file_are_read(version: int) -> None:
    lines = (GOLDEN / f"training_events_v{version}.jsonl").read_bytes().splitlines()
    assert [decode_event(line) for line in lines] == WRITTEN[version]


def test_every_event_stands_in_the_golden_file() -> None:
    assert {type(event) for event in WRITTEN[EVENT_VERSION]} == set(EVENTS)
