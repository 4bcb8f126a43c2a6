"""What a person sees of a run: a line an event, its progress, its loss as a curve, and how it ends."""

import pytest
from msgspec.structs import replace

from chimera.cli.training.watching import BARS, Watched, curve, duration, line, progress
from chimera.schemas.training_events import Event, RunProgressed
from tests.schemas.test_training_events import WRITTEN

EVENTS: dict[str, Event] = {type(one).__name__: one for one in WRITTEN[1]}


def seen(*names: str) -> Watched:
    watched = Watched()
    for name in names:
        watched.hear(EVENTS[name])
    return watched


def test_progress_tells_step_loss_rate_speed_and_what_is_left() -> None:
    one = EVENTS["RunProgressed"]
    assert isinstance(one, RunProgressed)
    assert progress(one) == (
        "update 7 of 70   loss 0.5   lr 0.1   10,000 samples/s   0:00:02 left   100 MB"
    )
    assert "loss no number" in progress(replace(one, loss=None, eta_s=None))
    assert seen("RunProgressed").losses == [0.5]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([], ""),
        ([3.0], BARS[0]),
        ([8.0, 1.0], BARS[7] + BARS[0]),
        ([4.0, 4.0, 0.0, 0.0], BARS[7] + BARS[0]),
    ],
)
def test_curve_has_a_bar_for_each_mean(values: list[float], shown: str) -> None:
    assert curve(values, width=2) == shown


def test_drift_in_more_columns_than_are_told_names_some_and_counts_the_others() -> None:
    for kind in ("DriftFound", "ServedDriftFound"):
        shortened: Event = replace(EVENTS[kind], left_out=4_999)
        assert " in x and 4,999 more" in line(shortened)
        assert " more" not in line(EVENTS[kind])


def test_curve_of_many_values_is_as_wide_as_it_may_be() -> None:
    drawn = curve([1 / (at + 1) for at in range(1_000)], width=40)
    assert len(drawn) == 40
    assert list(drawn) == sorted(drawn, reverse=True)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00:00"), (72, "0:01:12"), (3_725, "1:02:05")]
)
def test_duration_is_shown_by_the_clock(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("names", "ended"),
    [
        (("RunQueued", "RunFinished", "VersionRegistered"), None),
        (("RunQueued", "RunFinished", "VersionPromoted"), True),
        (("RunQueued", "RunFinished", "VersionWithheld"), False),
        (("RunQueued", "RunFailed"), False),
        (("RunQueued", "RunFailed", "RunQueued"), None),
        (("RunQueued", "RunCancelled"), False),
    ],
)
def test_run_is_watched_to_where_it_is_to_get(names: tuple[str, ...], ended: bool | None) -> None:
    assert seen(*names).ended is ended


def test_every_event_but_progress_and_checkpoints_is_a_line() -> None:
    silent = {name for name, event in EVENTS.items() if not line(event)}
    of_no_run = {"TriggerAnswered", "PolicySet", "PolicyRemoved", "PolicyFired"}
    assert silent == {*of_no_run, "RunProgressed", "CheckpointSaved"}
