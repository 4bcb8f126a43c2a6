"""The state that follows from a history: what serves, what is tried, and where a rollback goes."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.deployments import (
    Action,
    Change,
    Deployment,
    Live,
    Placed,
    after,
    fold,
    target,
)
from chimera.schemas.errors import DeploymentRefused

AT = datetime(2026, 1, 1, tzinfo=UTC)
A, B, C = (Placed(name, name * 64) for name in "abc")


def event(action: Action, placed: Placed | None = None, weight: int = 100) -> Deployment:
    return Deployment(1, action, placed, weight, "test", "", AT)


def state(*events: Deployment) -> tuple[Placed | None, Placed | None, int, Placed | None]:
    live = fold("default", "digits", events)
    return live.serving, live.candidate, live.weight, live.previous


def test_the_first_version_serves_all_of_it() -> None:
    assert state(event("deploy", A, weight=10)) == (A, None, 0, None)


def test_a_second_version_with_a_weight_is_a_candidate() -> None:
    assert state(event("deploy", A), event("deploy", B, weight=10)) == (A, B, 10, None)


def test_a_weight_of_nothing_is_a_shadow() -> None:
    assert state(event("deploy", A), event("deploy", B, weight=0)) == (A, B, 0, None)


def test_a_whole_deploy_replaces_what_served() -> None:
    assert state(event("deploy", A), event("deploy", B)) == (B, None, 0, A)


def test_a_promotion_keeps_what_served_as_the_way_back() -> None:
    history = [event("deploy", A), event("deploy", B, weight=5), event("promote", B)]
    assert state(*history) == (B, None, 0, A)


def test_a_rollback_never_offers_what_was_rolled_back() -> None:
    history = [event("deploy", A), event("deploy", B), event("rollback", A)]
    assert state(*history) == (A, None, 0, None)


def test_a_rollback_of_a_candidate_keeps_what_serves_and_its_way_back() -> None:
    history = [event("deploy", A), event("deploy", B), event("deploy", C, weight=5)]
    assert state(*history, event("rollback", B)) == (B, None, 0, A)


def test_a_pause_changes_nothing_else() -> None:
    history = [event("deploy", A), event("deploy", B, weight=7)]
    paused = fold("default", "digits", [*history, event("pause")])
    assert (paused.paused, paused.serving, paused.candidate) == (True, A, B)
    assert not after(paused, event("resume")).paused


LIVE = Live("default", "digits", serving=A, candidate=B, weight=5, previous=C)


@pytest.mark.parametrize(
    ("live", "change", "version"),
    [
        (LIVE, Change("promote", "test"), "b"),
        (LIVE, Change("rollback", "test"), "a"),
        (msgspec.structs.replace(LIVE, candidate=None), Change("rollback", "test"), "c"),
        (LIVE, Change("promote", "test", version="z"), "z"),
        (LIVE, Change("pause", "test", version="z"), None),
    ],
)
def test_target_is_what_the_change_or_the_state_names(
    live: Live, change: Change, version: str | None
) -> None:
    assert target(live, change) == version


@pytest.mark.parametrize("action", ["deploy", "promote", "rollback"])
def test_target_of_nothing_is_refused(action: Action) -> None:
    with pytest.raises(DeploymentRefused, match=f"{action} digits: it has no "):
        target(Live("default", "digits"), Change(action, "test"))


EVENTS = st.lists(
    st.one_of(
        st.builds(
            event,
            st.sampled_from(["deploy", "promote", "rollback"]),
            st.sampled_from([A, B, C]),
            st.integers(0, 100),
        ),
        st.builds(event, st.sampled_from(["pause", "resume"])),
    ),
    max_size=12,
)


@given(events=EVENTS)
def test_what_serves_is_neither_its_candidate_nor_its_way_back(events: list[Deployment]) -> None:
    live = fold("default", "digits", events)
    assert live.serving is None or live.serving not in (live.candidate, live.previous)
    assert live.candidate is None or live.serving is not None
    assert (live.weight > 0) <= (live.candidate is not None)
