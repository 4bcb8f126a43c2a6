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
    Watch,
    after,
    fold,
    judgement_id,
    require_served,
    target,
    watches,
)
from chimera.schemas.errors import DeploymentRefused
from chimera.schemas.model_commands import WatchPolicy

AT = datetime(2026, 1, 1, tzinfo=UTC)
A, B, C = (Placed(name, name * 64) for name in "abc")


def event(
    action: Action,
    placed: Placed | None = None,
    weight: int = 100,
    watch: WatchPolicy | None = None,
) -> Deployment:
    return Deployment(1, action, placed, weight, "test", "", AT, watch=watch)


def numbered(*events: Deployment) -> list[Deployment]:
    return [
        msgspec.structs.replace(one, sequence=number) for number, one in enumerate(events, start=1)
    ]


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


def test_a_rollback_goes_only_to_what_served() -> None:
    """A candidate and a shadow never did, whatever their share."""
    past = [event("deploy", A), event("deploy", B, 99), event("deploy", C, 0), event("promote", B)]
    back = Change("rollback", "test")
    for served in ("a", "b"):
        require_served(past, back, "digits", served)
    for never, before in (("c", past), ("b", past[:-1]), ("a", [])):
        with pytest.raises(DeploymentRefused, match=f"rollback digits {never}: it never served"):
            require_served(before, back, "digits", never)


POLICY = WatchPolicy(window_s=5)
COMPARED = WatchPolicy(max_disagreement=0.1)


@pytest.mark.parametrize("action", ["promote", "deploy"])
def test_a_watch_is_over_what_gets_all_traffic_against_what_had_it(action: Action) -> None:
    history = numbered(event("deploy", A), event(action, B, watch=POLICY))
    watch = fold("default", "digits", history).watch
    assert watch == Watch(2, B, 100, A, POLICY, AT)


def test_a_watch_is_over_what_gets_a_share_against_what_answers_the_rest() -> None:
    history = numbered(event("deploy", A), event("deploy", B, 10, COMPARED))
    watch = fold("default", "digits", history).watch
    assert watch is not None and watch.shadow is None
    assert watch == Watch(2, B, 10, A, COMPARED, AT)


def test_a_watch_that_compares_has_what_served_before_as_its_shadow() -> None:
    for policy, shadow in ((POLICY, None), (COMPARED, A)):
        history = numbered(event("deploy", A), event("promote", B, watch=policy))
        watch = fold("default", "digits", history).watch
        assert watch is not None and watch.shadow == shadow


@pytest.mark.parametrize(
    "events",
    [
        [event("deploy", A, watch=POLICY)],  # there is nothing to go back to
        [event("deploy", A), event("deploy", B, 0, POLICY)],  # a shadow answers nothing
        [event("deploy", A), event("promote", B)],
        [
            event("deploy", A),
            event("deploy", B),
            event("rollback", A),
            event("promote", A, 100, POLICY),
        ],
    ],
)
def test_nothing_is_watched(events: list[Deployment]) -> None:
    assert fold("default", "digits", numbered(*events)).watch is None


def judged(event: Deployment, sequence: int) -> Deployment:
    command_id = judgement_id("default", "digits", sequence)
    return msgspec.structs.replace(event, command_id=command_id)


@pytest.mark.parametrize(
    ("ending", "end"),
    [
        ([], "open"),
        ([event("pause"), event("resume")], "open"),
        ([event("recompile", B), event("recompile", A)], "open"),
        ([judged(event("keep", B), 2)], "passed"),
        ([event("pause"), judged(event("keep", B), 2)], "passed"),
        ([judged(event("rollback", A), 2)], "breached"),
        ([event("rollback", A)], "superseded"),
        ([judged(event("rollback", A), 1)], "superseded"),
        ([event("deploy", C, 10)], "superseded"),
        ([event("deploy", C, 0)], "superseded"),
        ([event("promote", C)], "superseded"),
    ],
)
def test_watch_ends_by_its_judgement_or_by_what_comes_instead(
    ending: list[Deployment], end: str
) -> None:
    history = numbered(event("deploy", A), event("promote", B, watch=POLICY), *ending)
    assert watches("default", "digits", history) == {2: end}
    assert (fold("default", "digits", history).watch is not None) == (end == "open")


def test_a_watch_may_follow_another() -> None:
    history = numbered(
        event("deploy", A), event("deploy", B, 10, POLICY), event("promote", B, watch=POLICY)
    )
    assert watches("default", "digits", history) == {2: "superseded", 3: "open"}


def test_what_is_kept_stays_as_it_was() -> None:
    for opening in (event("promote", B, watch=POLICY), event("deploy", B, 10, POLICY)):
        before = fold("default", "digits", numbered(event("deploy", A), opening))
        kept = after(before, event("keep", B, opening.weight))
        assert before.watch is not None
        assert kept == msgspec.structs.replace(before, watch=None, sequence=1)


def test_a_recompile_changes_nothing_but_the_sequence() -> None:
    watched = event("deploy", B, 10, POLICY)
    before = fold("default", "digits", numbered(event("deploy", A), watched, event("pause")))
    again = msgspec.structs.replace(event("recompile", B), sequence=4)
    assert after(before, again) == msgspec.structs.replace(before, sequence=4)


def test_judgement_has_one_id_for_each_watch() -> None:
    ids = {
        judgement_id(*one) for one in (("a", "m", 1), ("a", "m", 2), ("b", "m", 1), ("a", "n", 1))
    }
    assert len(ids) == 4
    assert judgement_id("a", "m", 1) in ids


def test_a_shadow_keeps_its_share_until_it_goes() -> None:
    shadow = msgspec.structs.replace(event("deploy", B, weight=0), share=25)
    live = fold("default", "digits", [event("deploy", A), shadow])
    assert (live.candidate, live.share) == (B, 25)
    assert after(live, event("promote", B)).share == 100


def test_a_shadow_of_nothing_or_of_itself_is_refused() -> None:
    shadows = Change("deploy", "test", version="a", weight=0)
    for live, why in ((Live("default", "digits"), "nothing serves"), (LIVE, "shadow itself")):
        with pytest.raises(DeploymentRefused, match=why):
            target(live, shadows)
    assert target(LIVE, msgspec.structs.replace(shadows, version="b")) == "b"


EVENTS = st.lists(
    st.one_of(
        st.builds(
            event,
            st.sampled_from(["deploy", "promote", "rollback"]),
            st.sampled_from([A, B, C]),
            st.integers(0, 100),
            st.sampled_from([None, POLICY, COMPARED]),
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
    if live.watch is not None:
        watched = live.candidate or live.serving
        assert live.watch.placed == watched != live.watch.previous
        assert live.watch.previous == (live.serving if live.candidate else live.previous)
