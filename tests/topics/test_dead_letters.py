from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas import headers as names
from chimera.schemas.errors import BY_CODE, SchemaInvalid
from chimera.schemas.settings import Settings
from chimera.topics.catalogue import catalogue
from chimera.topics.dead_letters import (
    CONNECT,
    MESSAGE_BYTES,
    VALUE_BYTES,
    VALUE_SHA256,
    Copy,
    Failure,
    Origin,
    Story,
    dead_letter,
    envelope_bytes,
    open_letter,
    retry,
    split,
    truncated,
)

ORIGIN = Origin("inference.requests", 3, 42, 1_763_717_416_000)
FAILURE = Failure("model_error", "it raised", 2, 1_763_717_416_123)
STORY = Story(ORIGIN, FAILURE, 1_763_717_421_123)
TOPICS = catalogue(Settings.model_construct())

ours = [names.ORIG_TOPIC, names.ATTEMPT, names.NOT_BEFORE, names.ERROR_CODE, CONNECT + "topic"]
header_names = st.one_of(st.text(max_size=20), st.sampled_from(ours))
original_headers = st.lists(
    st.tuples(header_names, st.one_of(st.none(), st.binary(max_size=40))), max_size=12
)
originals = st.builds(
    Copy,
    key=st.one_of(st.none(), st.binary(max_size=20)),
    value=st.one_of(st.none(), st.binary(max_size=50)),
    headers=original_headers,
)
origins = st.builds(
    Origin,
    topic=st.from_regex(r"[a-zA-Z0-9._-]{1,249}", fullmatch=True),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 10**18 - 1),
    timestamp_ms=st.integers(0, 10**15),
)
failures = st.builds(
    Failure,
    code=st.sampled_from(sorted(BY_CODE)),
    message=st.text(max_size=200),
    attempt=st.integers(1, 100),
    first_failure_ms=st.integers(0, 10**15),
)


@given(originals, origins, failures)
def test_dead_letter_begins_with_every_byte_of_the_original(
    original: Copy, origin: Origin, failure: Failure
) -> None:
    letter = dead_letter(original, origin, failure, TOPICS.dead_letters.max_message_bytes)
    assert (letter.key, letter.value) == (original.key, original.value)
    assert letter.headers[: len(original.headers)] == original.headers


@given(originals, origins, failures, st.integers(0, 10**15))
def test_split_gives_back_what_retry_was_given(
    original: Copy, origin: Origin, failure: Failure, not_before_ms: int
) -> None:
    story = Story(origin, failure, not_before_ms)
    copy = retry(original, story)
    assert (copy.key, copy.value) == (original.key, original.value)
    assert split(copy.headers) == (original.headers, story)


@given(originals, origins, failures)
def test_retry_stories_do_not_stack(original: Copy, origin: Origin, failure: Failure) -> None:
    once = retry(original, Story(origin, failure, 1))
    headers, story = split(once.headers)
    again = retry(Copy(once.key, once.value, headers), Story(story.origin, failure, 2))
    assert len(again.headers) == len(once.headers)
    assert split(again.headers) == (original.headers, Story(origin, failure, 2))


@given(originals, st.data())
def test_split_of_a_foreign_record_is_a_typed_error_or_a_story(
    original: Copy, data: st.DataObject
) -> None:
    headers = data.draw(st.permutations(retry(original, STORY).headers))
    headers = headers[: data.draw(st.integers(0, len(headers)))]
    try:
        split(headers)
    except SchemaInvalid as error:
        assert str(error).startswith("chimera-")


def test_dead_letter_tells_the_story_in_text() -> None:
    original = Copy(b"k", b"v", [("a", b"\xff"), ("a", None)])
    letter = dead_letter(original, ORIGIN, FAILURE, 10_000)
    assert letter.headers == [
        ("a", b"\xff"),
        ("a", None),
        ("chimera-orig-topic", b"inference.requests"),
        ("chimera-orig-partition", b"3"),
        ("chimera-orig-offset", b"42"),
        ("chimera-orig-timestamp", b"1763717416000"),
        ("chimera-attempt", b"2"),
        ("chimera-error-code", b"model_error"),
        ("chimera-error-message", b"it raised"),
        ("chimera-first-failure", b"1763717416123"),
        ("__connect.errors.topic", b"inference.requests"),
        ("__connect.errors.partition", b"3"),
        ("__connect.errors.offset", b"42"),
        ("__connect.errors.connector.name", b"chimera"),
        ("__connect.errors.task.id", b"3"),
        ("__connect.errors.stage", b"TASK_PUT"),
        ("__connect.errors.class.name", b"chimera"),
        ("__connect.errors.exception.class.name", b"chimera.schemas.errors.ModelFailed"),
        ("__connect.errors.exception.message", b"it raised"),
    ]


def test_retry_says_when_it_is_due_and_keeps_connects_names_for_dead_letters() -> None:
    headers = retry(Copy(None, b"v", []), STORY).headers
    assert headers[-1] == ("chimera-not-before", b"1763717421123")
    assert not [name for name, _ in headers if name.startswith(CONNECT)]


def test_dead_letter_of_the_largest_request_fits_with_the_longest_story() -> None:
    headers: list[tuple[str, bytes | None]] = [("h", bytes(16_000)), ("i", None)]
    largest = Copy(bytes(16_000), bytes(TOPICS.requests.max_message_bytes - 32_200), headers)
    assert largest.size_bytes <= TOPICS.requests.max_message_bytes
    origin = Origin("x" * 249, 2**31 - 1, 2**63 - 1, 10**15)
    failure = Failure("backend_unavailable", "…" * 10_000, 10**6, 10**15)
    letter = dead_letter(largest, origin, failure, TOPICS.dead_letters.max_message_bytes)
    assert letter.value == largest.value
    copy = retry(largest, Story(origin, failure, 10**15))
    assert copy.size_bytes <= TOPICS.retries[0].max_message_bytes


def test_dead_letter_too_large_for_its_topic_leaves_the_value_where_it_was() -> None:
    letter = dead_letter(Copy(b"k", bytes(5_000), [("a", b"b")]), ORIGIN, FAILURE, 4_000)
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (b"k", None)
    assert letter.headers[0] == ("a", b"b")
    assert headers[VALUE_BYTES] == b"5000"
    assert headers[VALUE_SHA256] == sha256(bytes(5_000)).hexdigest().encode()


def test_dead_letter_of_a_request_that_nobody_unpacked_says_that_its_value_is_left_out() -> None:
    letter = dead_letter(Copy(None, None, [], is_known=False), ORIGIN, FAILURE, 4_000)
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (None, None)
    assert (headers[VALUE_BYTES], headers[VALUE_SHA256]) == (None, None)
    assert open_letter(letter.headers) == ([], ORIGIN, FAILURE, False)


def test_dead_letter_with_a_key_or_headers_too_large_keeps_the_story() -> None:
    for original in (
        Copy(bytes(5_000), b"v", []),
        Copy(None, b"v", [("a", bytes(5_000))]),
    ):
        letter = dead_letter(original, ORIGIN, FAILURE, 4_000)
        assert (letter.key, letter.value) == (None, None)
        assert letter.headers[0] == (names.ORIG_TOPIC, b"inference.requests")
        assert letter.size_bytes <= 4_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (names.ORIG_OFFSET, b"-1"),
        (names.ORIG_OFFSET, b""),
        (names.ORIG_PARTITION, "²".encode()),
        (names.ATTEMPT, b"1_0"),
        (names.NOT_BEFORE, b"9" * 19),
        (names.FIRST_FAILURE, None),
        (names.ORIG_TOPIC, b"\xff"),
    ],
)
def test_split_of_a_bad_story_names_the_header(name: str, value: bytes | None) -> None:
    headers = [*retry(Copy(None, b"v", []), STORY).headers, (name, value)]
    with pytest.raises(SchemaInvalid, match=name):
        split(headers)


@given(st.text(alphabet=st.characters(), max_size=60), st.integers(3, 80))
def test_truncated_is_valid_text_within_the_limit(text: str, limit: int) -> None:
    found = truncated(text, limit)
    assert len(found) <= limit
    found.decode()
    if len(text.encode("utf-8", "replace")) <= limit:
        assert found == text.encode("utf-8", "replace")


def test_truncated_message_stands_in_both_places() -> None:
    failure = Failure("model_error", "é" * 5_000, 1, 1)
    headers = dict(dead_letter(Copy(None, b"v", []), ORIGIN, failure, 100_000).headers)
    for name in (names.ERROR_MESSAGE, CONNECT + "exception.message"):
        text = headers[name]
        assert text is not None
        assert len(text) <= MESSAGE_BYTES
        assert text.decode().endswith("é…")


@given(originals)
def test_envelope_bytes_counts_at_least_what_is_encoded(original: Copy) -> None:
    encoded = names.headers(original.headers)
    assert envelope_bytes(original.key, original.headers) >= len(encoded) + len(original.key or b"")
