from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.model_events import (
    EVENT_VERSION,
    EVENTS,
    CommandAnswered,
    CommandBegun,
    CompileStepped,
    Event,
    ModelCompiled,
    ModelRolledBack,
    Observed,
    TierChanged,
    TierCompiled,
    VersionRefused,
    WatchJudged,
    decode_event,
    encode_event,
)

GOLDEN = Path(__file__).with_name("golden")
WHERE: Any = {"tenant": "acme", "model": "digits", "at_ms": 1_763_717_416_000, "source": "node-1"}
REPORTS = (
    TierCompiled(tier="onnx-cpu", verdict="verified", sha256="0a" * 32),
    TierCompiled(tier="onnx-cuda", verdict="skipped", reason="no CUDA device"),
    TierCompiled(tier="torch-compiled-cpu", verdict="rejected", reason="max error 0.3"),
)
WRITTEN: dict[int, list[Event]] = {
    1: [
        CommandAnswered(
            event_id="e-1",
            command_id="c-1",
            action="promote",
            outcome="done",
            version="7",
            revision=4,
            **WHERE,
        ),
        CommandAnswered(
            event_id="e-2",
            command_id="c-2",
            action="deploy",
            outcome="refused",
            error="no tier is verified",
            **WHERE,
        ),
        ModelCompiled(
            event_id="e-3",
            command_id="c-3",
            version="7",
            report_sha256="0b" * 32,
            tiers=REPORTS,
            **WHERE,
        ),
        TierChanged(
            event_id="e-4",
            version="7",
            tier="onnx-cpu",
            before="closed",
            after="open",
            reason="6 of 10 calls failed",
            **WHERE,
        ),
        WatchJudged(
            event_id="e-5",
            command_id="c-5",
            version="7",
            verdict="breached",
            reason="errors",
            policy=WatchPolicy(),
            candidate=Observed(requests=900, errors=90, p99_us=4_000, compared=9, disagreed=1),
            previous=Observed(requests=9_000, errors=0, p99_us=3_000),
            **WHERE,
        ),
        CompileStepped(
            event_id="e-7",
            command_id="c-3",
            version="7",
            tier="onnx-cpu",
            stage="rejected",
            detail="max error 0.3",
            **WHERE,
        ),
        ModelRolledBack(
            event_id="e-6",
            command_id="c-5",
            withdrawn=("7",),
            restored=("5", "6"),
            is_automatic=True,
            reason="errors",
            revision=5,
            **WHERE,
        ),
        VersionRefused(
            event_id="e-7",
            command_id="c-7",
            version="7",
            revision=4,
            reason="no space left on device",
            tries=2,
            **WHERE,
        ),
        CommandBegun(
            event_id="e-8",
            command_id="c-3",
            action="compile",
            version="7",
            attempt=2,
            **WHERE,
        ),
    ]
}
"""What each version's golden file holds, a record a line, as this release understands it."""


def test_events_of_this_version_are_written_as_in_their_golden_file() -> None:
    golden = GOLDEN / f"model_events_v{EVENT_VERSION}.jsonl"
    lines = [encode_event(event) + b"\n" for event in WRITTEN[EVENT_VERSION]]
    assert b"".join(lines) == golden.read_bytes()


@pytest.mark.parametrize("version", range(1, EVENT_VERSION + 1))
def test_events_of_every_golden_file_are_read_or_refused(version: int) -> None:
    lines = (GOLDEN / f"model_events_v{version}.jsonl").read_bytes().splitlines()
    if version < EVENT_VERSION - 1:
        for line in lines:
            with pytest.raises(SchemaInvalid, match="version"):
                decode_event(line)
    else:
        assert [decode_event(line) for line in lines] == WRITTEN[version]


def test_every_event_stands_in_the_golden_file() -> None:
    assert {type(event) for event in WRITTEN[EVENT_VERSION]} == set(EVENTS)


@given(st.text(max_size=50), st.integers(0, 2**63 - 1))
def test_event_survives_a_round_trip(error: str, revision: int) -> None:
    event = CommandAnswered(
        event_id="e", action="pause", outcome="failed", error=error, revision=revision, **WHERE
    )
    assert decode_event(encode_event(event)) == event


def changed(**fields: Any) -> bytes:
    answered = {"event": "answered", "v": 1, "event_id": "e", "action": "pause", "outcome": "done"}
    return msgspec.json.encode(answered | WHERE | fields)


def test_event_with_unknown_fields_is_read() -> None:
    expected = CommandAnswered(event_id="e", action="pause", outcome="done", **WHERE)
    assert decode_event(changed(since=[1])) == expected


@pytest.mark.parametrize(
    ("value", "error", "names"),
    [
        (b"nothing", Malformed, "model event"),
        (changed(v=2), SchemaInvalid, "version 2"),
        (changed(event="forgotten"), SchemaInvalid, "forgotten"),
        (changed(outcome="perhaps"), SchemaInvalid, "outcome"),
        (changed(at_ms=-1), SchemaInvalid, "at_ms"),
        (changed(revision=-1), SchemaInvalid, "revision"),
        (changed(command_id="a b"), SchemaInvalid, "command_id"),
    ],
)
def test_event_that_is_none_is_refused(value: bytes, error: type[Exception], names: str) -> None:
    with pytest.raises(error, match=names):
        decode_event(value)
