"""The record of `models.state`: what of it follows from the history, and what from the artifacts."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from chimera.schemas.deployments import Live, Placed, Watch
from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.model_state import TierArtifact, decode_state, encode_state
from chimera.stores.registry.records import Artifact
from chimera.stores.registry.states import model_state, tiers_of
from tests.stores.places import verified

AT = datetime(2026, 1, 1, tzinfo=UTC)
A, B, C = (Placed(name, name * 64) for name in "abc")
TIERS = {name: (TierArtifact("onnx-cpu", name * 64),) for name in "abc"}
LIVE = Live("default", "digits", serving=A, previous=C, sequence=7, at=AT)


def test_what_serves_alone_has_everything_and_what_served_is_before() -> None:
    state = model_state(LIVE, TIERS, "command")
    assert (state.revision, state.command_id, state.paused) == (7, "command", False)
    assert state.changed_ms == int(AT.timestamp() * 1000)
    assert [(one.version, one.sha256, one.tiers) for one in state.live] == [
        ("a", "a" * 64, TIERS["a"])
    ]
    assert state.weights == {"a": 1.0}
    assert [one.version for one in state.before] == ["c"]
    assert state.shadow is None


@pytest.mark.parametrize("weight", [1, 50, 99])
def test_a_candidate_with_a_weight_answers_beside_what_serves(weight: int) -> None:
    live = msgspec.structs.replace(LIVE, candidate=B, weight=weight)
    state = model_state(live, TIERS, "command")
    assert state.weights == {"a": 100 - weight, "b": weight}
    assert state.shadow is None


def test_a_candidate_without_a_weight_is_a_shadow() -> None:
    state = model_state(msgspec.structs.replace(LIVE, candidate=B), TIERS, "command")
    assert state.weights == {"a": 1.0}
    assert state.shadow is not None
    assert (state.shadow.version, state.shadow.share) == ("b", 1.0)
    quarter = model_state(msgspec.structs.replace(LIVE, candidate=B, share=25), TIERS, "command")
    assert quarter.shadow is not None
    assert quarter.shadow.share == 0.25


@pytest.mark.parametrize(("limit", "shadow"), [(None, None), (0.1, "c")])
def test_what_served_before_shadows_while_a_watch_compares(
    limit: float | None, shadow: str | None
) -> None:
    watch = Watch(7, A, 100, C, WatchPolicy(max_disagreement=limit), AT)
    state = model_state(msgspec.structs.replace(LIVE, watch=watch), TIERS, "command")
    assert (state.shadow.version if state.shadow else None) == shadow
    assert [one.version for one in state.before] == ["c"]
    assert decode_state(encode_state(state)) == state


def test_a_version_that_may_serve_no_longer_is_left_out() -> None:
    live = msgspec.structs.replace(LIVE, candidate=B, weight=10, paused=True)
    state = model_state(live, {"b": TIERS["b"]}, "command")
    assert (state.weights, state.before, state.paused) == ({"b": 10.0}, (), True)


def test_a_state_survives_the_wire() -> None:
    state = model_state(msgspec.structs.replace(LIVE, candidate=B), TIERS, "command")
    assert decode_state(encode_state(state)) == state


def test_tiers_are_the_newest_artifacts_that_are_verified() -> None:
    def at(minute: int, **changes: object) -> Artifact:
        one = verified("a" * 64, p99_ms=0.25)
        made_at = AT + timedelta(minutes=minute)
        return msgspec.structs.replace(one, made_at=made_at, **changes)

    found = tiers_of(
        [
            at(3, sha256="b" * 64, target="x86-64-v4"),  # the same variant for another machine
            at(1),
            at(1, tier="torch-cpu", sha256="c" * 64, report={"of": "another form"}),
            at(2, tier="torch-cpu", sha256="c" * 64, target="x86-64-v4", report={}),  # no file
            at(1, precision="int8", verdict="refused"),
            at(2, tier="torch-compiled-cpu"),
            at(2, tier="tensorrt-fp16"),  # no device has reported it
            at(4, tier="torch-compiled-cpu", verdict="refused", target="x86-64-v4"),
        ]
    )
    assert found == (
        TierArtifact("onnx-cpu", "a" * 64, {1: 250.0}, target="x86-64"),
        TierArtifact("onnx-cpu", "b" * 64, {1: 250.0}, target="x86-64-v4"),
        TierArtifact("torch-compiled-cpu", "a" * 64, {1: 250.0}, target="x86-64"),
        TierArtifact("torch-cpu", "c" * 64),
    )


def test_tiers_are_for_no_more_kinds_of_machines_than_a_state_has_room_for() -> None:
    made = [
        msgspec.structs.replace(
            verified("a" * 64), target=f"machine {at}", made_at=AT + timedelta(minutes=at)
        )
        for at in range(9)
    ]
    assert [one.target for one in tiers_of(made)] == [f"machine {at}" for at in range(4, 9)]
