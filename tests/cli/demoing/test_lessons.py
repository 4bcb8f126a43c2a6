"""A run of the demo as it is followed: what is known of it, and what people are told."""

from typing import Any

import pytest
from msgspec.structs import replace

from chimera.cli.demoing.failure import DemoFailed
from chimera.cli.demoing.lessons import Lesson
from chimera.schemas.training_events import Event
from tests.schemas.test_training_events import WRITTEN

RUN = "digits-0f"
EVENTS: dict[str, Any] = {type(one).__name__: one for one in WRITTEN[1]}


def test_lesson_grows_by_the_events_of_its_run_alone() -> None:
    lesson = Lesson(RUN)
    events: list[Event] = [EVENTS["RunQueued"], replace(EVENTS["RunFinished"], run_id="another")]
    assert lesson.read(events).manifest is None
    assert lesson.live == ""
    events += [EVENTS[name] for name in ("RunProgressed", "RunProgressed", "RunFinished")]
    lesson.read(events)
    assert lesson.live.splitlines()[0].startswith("update 7 of 70")
    assert lesson.live.splitlines()[1] == lesson.curve
    assert len(lesson.curve) == 2
    assert lesson.manifest is EVENTS["RunFinished"].manifest
    events += [EVENTS[name] for name in ("DriftFound", "VersionRegistered", "VersionPromoted")]
    lesson.read(events)
    assert lesson.drift is EVENTS["DriftFound"]
    assert lesson.digest == EVENTS["VersionRegistered"].manifest_sha256
    assert lesson.promoted is EVENTS["VersionPromoted"]
    assert len(lesson.take_told()) == 4
    assert lesson.take_told() == []


@pytest.mark.parametrize("name", ["RunFailed", "RunCancelled", "VersionWithheld"])
def test_lesson_that_comes_to_nothing_ends_the_demo_with_the_reason(name: str) -> None:
    with pytest.raises(DemoFailed, match=f"run {RUN}: (failed|cancelled|withheld)"):
        Lesson(RUN).read([EVENTS[name]])
