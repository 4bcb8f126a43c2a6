"""What commands mean: shares as percents, and refusals that say who is meant."""

from typing import Any

import pytest

from chimera.agents.controlling.replies import change_of, read_command, refusal_of
from chimera.schemas.errors import DeploymentRefused, SchemaInvalid
from chimera.schemas.model_commands import (
    DeployModel,
    PauseModel,
    PromoteModel,
    RollBackModel,
    WatchPolicy,
    encode_command,
)

WHO: Any = {"command_id": "c", "tenant": "acme", "model": "digits", "actor": "ada"}


@pytest.mark.parametrize(("weight", "percent"), [(1.0, 100), (0.07, 7), (0.29, 29), (0.01, 1)])
def test_a_weight_is_a_share_in_percents(weight: float, percent: int) -> None:
    assert change_of(DeployModel(version="1", weight=weight, **WHO)).weight == percent


@pytest.mark.parametrize("weight", [0.001, 0.005, 0.125, 1.01, 5.0])
def test_a_weight_that_is_no_whole_percent_is_refused(weight: float) -> None:
    with pytest.raises(DeploymentRefused, match="whole percents"):
        change_of(DeployModel(version="1", weight=weight, **WHO))


@pytest.mark.parametrize(("share", "percent"), [(1.0, 100), (0.25, 25), (0.01, 1)])
def test_a_shadow_has_a_share_in_percents_and_no_weight(share: float, percent: int) -> None:
    change = change_of(DeployModel(version="1", shadow_share=share, **WHO))
    assert (change.weight, change.share) == (0, percent)
    assert change_of(DeployModel(version="1", weight=0.5, **WHO)).share == 100


def test_a_share_that_is_no_whole_percent_is_refused() -> None:
    with pytest.raises(DeploymentRefused, match="shadow_share 0.005.*whole percents"):
        change_of(DeployModel(version="1", shadow_share=0.005, **WHO))


def test_a_change_is_the_command_s() -> None:
    change = change_of(RollBackModel(version="6", reason="slow", **WHO))
    told = (change.action, change.version, change.actor, change.reason, change.command_id)
    assert told == ("rollback", "6", "ada", "slow", "c")
    assert change_of(PromoteModel(**WHO)).version is None
    assert change_of(PauseModel(**WHO)).action == "pause"


def test_a_watch_is_the_command_s_where_there_is_something_to_watch() -> None:
    policy = WatchPolicy(window_s=5)
    assert change_of(PromoteModel(**WHO)).watch == WatchPolicy()
    assert change_of(PromoteModel(watch=None, **WHO)).watch is None
    assert change_of(DeployModel(version="1", weight=0.1, watch=policy, **WHO)).watch == policy
    assert change_of(RollBackModel(**WHO)).watch is None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"shadow_share": 1.0, "watch": WatchPolicy()}, "a shadow answers nothing"),
        ({"weight": 0.1, "watch": WatchPolicy(max_disagreement=0.1)}, "cannot shadow"),
    ],
)
def test_a_watch_that_nothing_could_judge_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(DeploymentRefused, match=why):
        change_of(DeployModel(version="1", **fields, **WHO))


def test_a_command_under_another_model_s_key_is_refused() -> None:
    value = encode_command(PauseModel(**WHO))
    assert read_command(b"acme/digits", value) == PauseModel(**WHO)
    for wrong in (b"acme/other", None):
        with pytest.raises(SchemaInvalid, match="its key is"):
            read_command(wrong, value)


def test_a_refusal_names_what_can_be_read() -> None:
    reply = refusal_of("us", b"acme/digits", b'{"action":"jump","command_id":"c-9"}')
    (answer,) = reply.end("refused", "x" * 9_999)
    assert (answer.tenant, answer.model, answer.command_id) == ("acme", "digits", "c-9")
    reply = refusal_of("us", b"acme/digits", b'{"action":7,"command_id":"no name"}')
    assert (reply.action, reply.command_id) == ("unknown", None)
    with pytest.raises(SchemaInvalid):
        refusal_of("us", b"acme", b"{}")
