"""What is told fits its topic, also of ten thousand columns; what does not is told shorter, and counted."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from chimera.agents.training.fitting import EVENT_BYTES, fitting
from chimera.schemas.training_events import (
    DriftFound,
    Event,
    EventOmitted,
    LeftOut,
    RunEvaluated,
    RunFinished,
    ServedDriftFound,
    decode_event,
    encode_event,
)
from chimera.schemas.training_manifest import Drift, SliceMetrics, TrainingManifest
from tests.schemas.test_training_events import RUN, WRITTEN
from tests.workers.training.test_history import MANIFEST

FEATURES = 10_000
COLUMNS = tuple(
    Drift(f"sensor_{at:05}_of_the_line", "ks", 1e-300 * (at % 3), at / 7, 1.25, 0.75, at % 2 == 1)
    for at in range(FEATURES)
)
DRIFTED = tuple(one for one in COLUMNS if one.is_drift)


def wide(**changes: Any) -> TrainingManifest:
    """Of a data set with so many columns."""
    return replace(MANIFEST, drift_from_previous=COLUMNS, **changes)


def told(event: Event) -> Event:
    """As whoever reads its record has it."""
    raw = encode_event(fitting(event))
    assert len(raw) <= EVENT_BYTES
    return decode_event(raw)


def test_manifest_of_ten_thousand_features_is_told_by_those_that_drifted_most() -> None:
    slices = {f"shop {at}": SliceMetrics(at, {"mse": 0.5, "mae": 0.25}) for at in range(9_000)}
    event = RunFinished(manifest=wide(slices=slices), **RUN)
    assert len(encode_event(event)) > 2**20
    found = told(event)
    assert isinstance(found, RunFinished)
    assert found.left_out == LeftOut(compared=FEATURES, drifted=len(DRIFTED), slices=9_000)
    columns = found.manifest.drift_from_previous
    assert len(columns) > 500
    most_drifted_first = sorted(DRIFTED, key=lambda one: (one.p_value, -one.psi))
    assert columns == tuple(most_drifted_first[: len(columns)])
    assert set(found.manifest.slices) == {f"shop {8_999 - at}" for at in range(len(columns))}
    bare: Any = {"drift_from_previous": (), "slices": {}}
    assert replace(found.manifest, **bare) == replace(event.manifest, **bare)


@pytest.mark.parametrize("event", WRITTEN[1])
def test_event_that_fits_is_told_whole(event: Event) -> None:
    assert fitting(event) is event


def test_column_that_only_one_data_set_has_is_told_first() -> None:
    gone = Drift("gone", "vanished", 0.0, 0.0, 0.0, 1.0, True)
    found = fitting(RunFinished(manifest=wide(), **RUN), 20_000)
    assert isinstance(found, RunFinished)
    assert gone not in found.manifest.drift_from_previous
    manifest = replace(MANIFEST, drift_from_previous=(*COLUMNS, gone))
    found = fitting(RunFinished(manifest=manifest, **RUN), 20_000)
    assert isinstance(found, RunFinished)
    assert found.manifest.drift_from_previous[0] == gone


def test_drift_of_ten_thousand_columns_is_told_in_part_and_counted() -> None:
    columns = tuple(replace(one, is_drift=True) for one in COLUMNS)
    drift = DriftFound(previous_run_id="digits-0e", columns=columns, **RUN)
    served = ServedDriftFound(
        policy="on-drift", rows=512, since_ms=0, until_ms=1, columns=columns, **RUN
    )
    for event in (drift, served):
        found = told(event)
        assert isinstance(found, DriftFound | ServedDriftFound)
        assert found.drifted == FEATURES
        assert 1_000 < len(found.columns) < FEATURES


def test_event_of_which_no_part_fits_is_told_to_be_omitted() -> None:
    metrics = {f"metric_{at}": 0.5 for at in range(50_000)}
    evaluated = RunEvaluated(attempt=1, epoch=0, update=7, metrics=metrics, is_best=True, **RUN)
    finished = RunFinished(manifest=wide(metrics=metrics), **RUN)
    for event, kind in ((evaluated, "evaluated"), (finished, "finished")):
        found = told(event)
        size_bytes = len(encode_event(event))
        who = {name: RUN[name] for name in ("event_id", "tenant", "at_ms", "source", "run_id")}
        assert found == EventOmitted(kind=kind, size_bytes=size_bytes, **who)


def test_counts_of_what_is_left_out_are_no_part_of_a_whole_event() -> None:
    fields = msgspec.json.decode(encode_event(RunFinished(manifest=MANIFEST, **RUN)))
    assert "left_out" not in fields
