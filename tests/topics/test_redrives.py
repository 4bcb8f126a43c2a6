"""Dead letters read back, and the requests that become of them: no byte of an original changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas import headers as names
from chimera.schemas.errors import SchemaInvalid
from chimera.topics.dead_letters import Copy, dead_letter
from chimera.topics.redrives import Letter, read, replay
from tests.topics.test_dead_letters import FAILURE, ORIGIN, TOPICS, originals

DEAD, TARGET = TOPICS.dead_letters, TOPICS.requests
WHERE = (DEAD.name, 3, 7)
NOW_MS = 2_000_000_000_000


def letter(original: Copy, limit_bytes: int = DEAD.max_message_bytes) -> Letter:
    copy = dead_letter(original, ORIGIN, FAILURE, limit_bytes)
    return read(WHERE, 5, copy.key, copy.value, copy.headers)


@given(originals)
def test_letter_that_is_read_has_the_original_as_it_was(original: Copy) -> None:
    found = letter(original)
    assert (found.original, found.origin, found.failure) == (original, ORIGIN, FAILURE)
    assert found.is_whole


@given(originals)
def test_replay_is_the_original_and_what_it_repeats(original: Copy) -> None:
    copy = replay(letter(original), TARGET, NOW_MS)
    assert (copy.key, copy.value) == (original.key, original.value)
    assert copy.headers == [
        *original.headers,
        ("chimera-replay-of", b"inference.requests:3:42"),
        ("chimera-generation", b"1"),
    ]


def test_replay_of_a_replay_is_the_next_generation() -> None:
    first = replay(letter(Copy(b"k", b"v", [("a", b"b")])), TARGET, NOW_MS)
    second = replay(letter(first), TARGET, NOW_MS)
    assert second.headers == [
        ("a", b"b"),
        ("chimera-replay-of", b"inference.requests:3:42"),
        ("chimera-generation", b"2"),
    ]


def test_letter_without_its_value_is_not_replayed() -> None:
    found = letter(Copy(b"k", b"v" * 5_000, []), 4_000)
    assert not found.is_whole
    with pytest.raises(SchemaInvalid, match="where it first stood"):
        replay(found, TARGET, NOW_MS)


def test_letter_of_another_topic_is_not_replayed() -> None:
    with pytest.raises(SchemaInvalid, match="came from inference.requests"):
        replay(letter(Copy(None, b"v", [])), TOPICS.training_triggers, NOW_MS)


def test_letter_whose_callers_deadline_has_passed_is_replayed_without_it_alone() -> None:
    found = letter(Copy(None, b"v", [(names.DEADLINE, b"%d" % (NOW_MS - 1)), ("a", None)]))
    with pytest.raises(SchemaInvalid, match="--without-deadline"):
        replay(found, TARGET, NOW_MS)
    copy = replay(found, TARGET, NOW_MS, drops_deadline=True)
    assert copy.headers[0] == ("a", None)
    assert names.DEADLINE not in dict(copy.headers)


def test_letter_whose_deadline_is_still_to_come_keeps_it() -> None:
    pair = (names.DEADLINE, b"%d" % (NOW_MS + 1))
    assert replay(letter(Copy(None, b"v", [pair])), TARGET, NOW_MS).headers[0] == pair


@given(st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=20))
def test_record_that_is_no_letter_of_ours_is_refused(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(SchemaInvalid, match="dead letter"):
        read(WHERE, 5, None, b"v", headers)


def test_letter_that_lacks_one_header_is_refused() -> None:
    whole = dead_letter(Copy(None, b"v", []), ORIGIN, FAILURE, 10_000)
    for at in range(len(whole.headers)):
        rest = [*whole.headers[:at], *whole.headers[at + 1 :]]
        with pytest.raises(SchemaInvalid, match="dead letter"):
            read(WHERE, 5, None, b"v", rest)
