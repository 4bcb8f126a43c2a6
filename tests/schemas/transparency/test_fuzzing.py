"""What a fuzzer begins with is what its parser takes; anything else it may only refuse."""

import pytest

from tests.schemas.transparency.fuzzing import TARGETS, Target


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_seed_is_read_and_every_cut_of_it_is_read_or_refused(target: Target) -> None:
    assert target.decode(target.seed)
    for end in range(len(target.seed)):
        target.attempt(target.seed[:end])
        target.attempt(target.seed[:end] + b"\xff" + target.seed[end:])


def test_anything_but_a_typed_error_is_found() -> None:
    def careless(_raw: bytes) -> object:
        raise ValueError("no typed error")

    with pytest.raises(ValueError, match="no typed error"):
        Target(careless, b"").attempt(b"")
