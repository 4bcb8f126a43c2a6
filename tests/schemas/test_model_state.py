from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.model_state import (
    STATE_VERSION,
    LiveVersion,
    ModelState,
    ShadowVersion,
    TierArtifact,
    decode_state,
    encode_state,
)

GOLDEN = Path(__file__).with_name("golden")
TIERS = (
    TierArtifact("onnx-cpu", "0a" * 32, {1: 140.5, 256: 1_600.0}, target="cpu-0123456789abcdef"),
    TierArtifact("torch-cpu", "0b" * 32),
)
SEVEN = LiveVersion(version="7", sha256="07" * 32, weight=0.9, tiers=TIERS)
EIGHT = LiveVersion(version="8", sha256="08" * 32, weight=0.1, tiers=TIERS[:1])
NINE = ShadowVersion(version="9", sha256="09" * 32, share=0.05, tiers=TIERS)


def state(revision: int = 1, **fields: Any) -> ModelState:
    return ModelState(
        tenant="acme",
        model="digits",
        revision=revision,
        changed_ms=1_763_717_416_000,
        command_id="c-1",
        **fields,
    )


WRITTEN = {1: [state(3, live=(SEVEN, EIGHT), before=(SEVEN,), shadow=NINE), state(4, paused=True)]}
"""What each version's golden file holds, a record a line, as this release understands it."""


def test_states_of_this_version_are_written_as_in_their_golden_file() -> None:
    golden = GOLDEN / f"model_state_v{STATE_VERSION}.jsonl"
    lines = [encode_state(one) + b"\n" for one in WRITTEN[STATE_VERSION]]
    assert b"".join(lines) == golden.read_bytes()


@pytest.mark.parametrize("version", range(1, STATE_VERSION + 1))
def test_states_of_every_golden_file_are_read_or_refused(version: int) -> None:
    lines = (GOLDEN / f"model_state_v{version}.jsonl").read_bytes().splitlines()
    if version < STATE_VERSION - 1:
        for line in lines:
            with pytest.raises(SchemaInvalid, match="version"):
                decode_state(line)
    else:
        assert [decode_state(line) for line in lines] == WRITTEN[version]


def test_state_tells_the_weights_of_what_is_live() -> None:
    assert WRITTEN[1][0].weights == {"7": 0.9, "8": 0.1}


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_state_that_is_followed_is_the_newest_in_whatever_order_they_come(
    revisions: list[int],
) -> None:
    for order in permutations(revisions):
        known: ModelState | None = None
        for revision in order:
            found = state(revision)
            if found.supersedes(known):
                known = found
        assert known == state(max(revisions))


def test_state_that_comes_again_does_not_supersede_itself() -> None:
    assert not state(2).supersedes(state(2))


def test_tier_stands_once_for_each_kind_of_machine() -> None:
    """A state of before names none, and is read as ever."""
    for_two = tuple(TierArtifact("onnx-cpu", "0a" * 32, target=f"cpu-{at}") for at in "12")
    one = state(live=(msgspec.structs.replace(SEVEN, tiers=for_two),))
    assert decode_state(encode_state(one)) == one
    assert decode_state(changed(live=[LIVE | {"tiers": [TIER]}])).live[0].tiers[0].target == ""


def changed(**fields: Any) -> bytes:
    return msgspec.json.encode(msgspec.to_builtins(state(live=(SEVEN,))) | fields)


LIVE: dict[str, Any] = msgspec.to_builtins(SEVEN)
TIER: dict[str, Any] = {"tier": "onnx-cpu", "sha256": "0a" * 32}


@pytest.mark.parametrize(
    ("value", "error", "names"),
    [
        (b"\xff", Malformed, "model state"),
        (changed(v=2), SchemaInvalid, "version 2"),
        (changed(revision=0), SchemaInvalid, "revision"),
        (changed(live=[LIVE, LIVE]), SchemaInvalid, "stands twice"),
        (changed(before=[LIVE, LIVE]), SchemaInvalid, "stands twice"),
        (changed(live=[LIVE | {"tiers": []}]), SchemaInvalid, "tiers"),
        (changed(live=[LIVE | {"tiers": 2 * LIVE["tiers"]}]), SchemaInvalid, "a tier stands twice"),
        (changed(live=[LIVE | {"weight": 0}]), SchemaInvalid, "weight"),
        (changed(live=[LIVE | {"sha256": "07"}]), SchemaInvalid, "sha256"),
        (changed(shadow=LIVE | {"share": 0.5}), SchemaInvalid, "shadows itself"),
        (changed(live=[LIVE | {"tiers": [TIER | {"p99_us": {"0": 1}}]}]), SchemaInvalid, "key"),
        (changed(live=[LIVE | {"tiers": [TIER | {"p99_us": {"1": 0}}]}]), SchemaInvalid, "p99_us"),
        (changed(paused=1), SchemaInvalid, "paused"),
    ],
)
def test_state_that_is_none_is_refused(value: bytes, error: type[Exception], names: str) -> None:
    with pytest.raises(error, match=names):
        decode_state(value)
