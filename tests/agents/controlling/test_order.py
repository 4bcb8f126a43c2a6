"""Which command waits for which: rollbacks for none, deploys for what makes their version."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.agents.controlling.order import Long, Order
from chimera.schemas.model_commands import (
    Command,
    CompileModel,
    DeployModel,
    PauseModel,
    PromoteModel,
    RegisterModel,
    ResumeModel,
    RollBackModel,
)

COMPILE_2, COMPILE_3 = "compile 2", "compile 3"


def command(text: str, model: str = "digits") -> Command:
    """As one says it: an action, and its version if it has one."""
    action, _, version = text.partition(" ")
    who: dict[str, Any] = {"command_id": text, "tenant": "acme", "model": model, "actor": "ada"}
    match action:
        case "compile":
            return CompileModel(version=version, **who)
        case "register":
            return RegisterModel(version=version, source="store:", manifest_sha256="0" * 64, **who)
        case "deploy":
            return DeployModel(version=version, **who)
        case "promote":
            return PromoteModel(version=version or None, **who)
        case "rollback":
            return RollBackModel(version=version or None, **who)
        case "pause":
            return PauseModel(**who)
        case _:
            return ResumeModel(**who)


def ordered(*texts: str) -> Order:
    order = Order(10)
    for offset, text in enumerate(texts, 10):
        order.take(offset, command(text))
    return order


def ready(order: Order) -> list[str]:
    return [one.command_id for _, one in order.ready()]


@pytest.mark.parametrize(
    ("texts", "now"),
    [
        (["deploy 1", "promote", "pause"], ["deploy 1", "promote", "pause"]),
        ([COMPILE_3, "rollback", "pause", "resume"], [COMPILE_3, "rollback", "pause", "resume"]),
        ([COMPILE_3, "rollback 3"], [COMPILE_3, "rollback 3"]),
        ([COMPILE_3, "deploy 2", "promote"], [COMPILE_3, "deploy 2", "promote"]),
        ([COMPILE_3, "deploy 3"], [COMPILE_3]),
        ([COMPILE_3, "promote 3"], [COMPILE_3]),
        (["register 3", "deploy 3"], ["register 3"]),
        ([COMPILE_3, "deploy 3", "deploy 2", "promote"], [COMPILE_3]),
        (["deploy 3", COMPILE_3], ["deploy 3", COMPILE_3]),
        ([COMPILE_2, COMPILE_3, "deploy 3"], [COMPILE_2]),
        ([COMPILE_2, "register 3", "register 1"], [COMPILE_2, "register 3"]),
        (["register 3", COMPILE_3, COMPILE_2], ["register 3"]),
    ],
)
def test_only_deploys_wait_and_only_for_what_makes_their_version(
    texts: list[str], now: list[str]
) -> None:
    assert ready(ordered(*texts)) == now


def test_deploy_waits_for_no_other_model() -> None:
    order = ordered(COMPILE_3)
    order.take(11, command("deploy 3", "letters"))
    assert ready(order) == [COMPILE_3, "deploy 3"]


def test_what_waited_follows_as_soon_as_its_version_is_made() -> None:
    order = ordered(COMPILE_3, "deploy 3", COMPILE_2)
    order.drop((10,))
    assert ready(order) == ["deploy 3", COMPILE_2]


def test_rollback_withdraws_what_of_its_model_waits_before_it() -> None:
    order = ordered(COMPILE_3, "deploy 3", "promote")
    order.take(13, command("deploy 3", "letters"))
    order.take(14, command("rollback"))
    order.take(15, command("deploy 3"))
    assert [offset for offset, _ in order.withdrawn_by(14)] == [11, 12]
    order.take(16, command("pause"))
    assert order.withdrawn_by(16) == []


def test_position_is_that_of_the_oldest_command_without_an_answer() -> None:
    order = ordered(COMPILE_3, "rollback")
    assert order.position == 10
    assert (order.position_without((10,)), order.position_without((10, 11))) == (11, 12)
    order.drop((11,))
    assert (order.position, order.position_without((10,))) == (10, 12)
    order.take(12, None)
    order.drop((10,))
    assert order.position == 12
    order.drop((12,))
    assert order.position == 13


TEXTS = st.sampled_from(
    [
        *(
            f"{action} {version}"
            for action in ("compile", "register", "deploy")
            for version in "12"
        ),
        *("promote", "promote 1", "rollback", "pause"),
    ]
)


@given(texts=st.lists(TEXTS, max_size=20))
def test_all_is_done_in_the_end_and_deploys_of_a_model_in_their_order(texts: list[str]) -> None:
    order, done = ordered(*texts), list[int]()
    while found := order.ready():
        kinds = [type(one) for _, one in found if isinstance(one, Long)]
        assert len(kinds) == len(set(kinds))
        offset, _ = found[-1]  # the order that differs most from the log's
        order.drop((offset,))
        done.append(offset)
    assert sorted(done) == list(range(10, 10 + len(texts)))
    assert order.position == 10 + len(texts)
