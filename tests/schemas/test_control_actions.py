"""Actions of each kind: as in the golden file, as leaves, and never too long for one."""

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas import control_actions as actions
from chimera.schemas.control_actions import ACTIONS, Act, Lane
from chimera.schemas.transparency.leaves import LEAF_VERSION, ActionTaken, decode_leaf, encode_leaf

GOLDEN = Path(__file__).with_name("golden") / f"control_actions_v{LEAF_VERSION}.jsonl"
ACT = Act("ada@host", 1_763_717_416_000, "e-1")
LANE = Lane("chimera", "inference.requests", 3)
DIGESTS = ("0a" * 32, "0b" * 32)
WRITTEN = [
    actions.key_created(ACT, "models", "1f2e3d4c", "keys/signing.pem"),
    actions.key_created(ACT._replace(tenant="acme"), "commitments", "acme", "keys/acme.key"),
    actions.key_destroyed(
        ACT._replace(tenant="acme", reason="asked to"), "commitments", "acme", "keys/acme.key"
    ),
    actions.version_registered(ACT, "digits 7", DIGESTS[0]),
    actions.policy_put(ACT, "promotion.digits", {"requires_replay": {"max_age_s": 60}, "v": 1}),
    actions.replayed(
        ACT._replace(event_id="id:3:42"),
        "inference.requests.dlq:3:42",
        "inference.requests:3:17",
        "model_error",
        1,
    ),
    actions.settings_changed(ACT, "node@host", ["kafka.group", "audit.origin"], *DIGESTS),
    actions.lane_halted(ACT._replace(reason="removed by retention"), LANE, range(17, 42)),
    actions.lane_halted(ACT._replace(reason="no offset"), LANE, range(0)),
    actions.offsets_set(ACT, LANE, 17, 43, range(17, 43), range(0)),
    actions.offsets_set(ACT, LANE, None, 5, range(0), range(5, 9)),
]


def test_actions_are_written_as_in_their_golden_file() -> None:
    assert b"".join(encode_leaf(one) + b"\n" for one in WRITTEN) == GOLDEN.read_bytes()
    assert [decode_leaf(line) for line in GOLDEN.read_bytes().splitlines()] == WRITTEN


def test_every_kind_of_action_stands_in_the_golden_file() -> None:
    assert {one.action for one in WRITTEN} == set(ACTIONS)


def test_action_names_who_did_it() -> None:
    assert {(one.actor, one.at_ms) for one in WRITTEN} == {(ACT.actor, ACT.at_ms)}


def test_policy_is_told_with_the_digest_of_its_one_spelling() -> None:
    one, other = (
        actions.policy_put(ACT, "p", body) for body in ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    )
    assert one == other
    assert msgspec.json.decode(one.details["body"]) == {"a": 1, "b": 2}


@given(st.lists(st.text("abc._", min_size=1, max_size=60), max_size=400))
def test_names_of_settings_that_changed_fit_into_a_leaf(names: list[str]) -> None:
    event = actions.settings_changed(ACT, "node@host", names, *DIGESTS)
    assert decode_leaf(encode_leaf(event)) == event
    lines = [event.details[f"names.{number}"] for number in range(1, len(event.details) - 2)]
    told = " ".join(lines).split()
    assert told == sorted(names)[: len(told)]
    assert event.details["changed"] == str(len(names))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=3_000))
def test_text_that_is_too_long_for_a_leaf_is_cut(text: str) -> None:
    event = actions.key_created(ACT, "models", text, text)
    assert isinstance(decode_leaf(encode_leaf(event)), ActionTaken)
