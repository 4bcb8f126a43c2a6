"""Cases: what a failure becomes, who killed how often, and who an unread request is."""

import json

import pytest

from chimera.agents.lanes.cases import Cases
from chimera.agents.lanes.intake import Rules
from chimera.agents.lanes.outcomes import Error, Later
from chimera.schemas.errors import DeadlineExceeded, ModelFailed, SchemaInvalid, TooLarge
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.work import Failure
from chimera.topics import retry
from chimera.topics.retry import RetryInLane
from tests.agents.lanes import Kafka

NOW_MS = 1_800_000_000_000
FAILURE = Failure("digits", "1", "a", "it failed")


def cases(crash_limit: int = 3) -> Cases:
    rules = Rules("inference.requests", 0, 1, False, 1_000, 0)
    return Cases(rules, retry.Policy.of(ServingSettings()), crash_limit)


def test_failure_that_may_pass_is_tried_again_until_its_time_is_over() -> None:
    some, record = cases(), Kafka(4)
    first = some.failed(record, ModelFailed, FAILURE, "key", NOW_MS)
    second = some.failed(record, ModelFailed, FAILURE, "key", NOW_MS + 100)
    assert isinstance(first, RetryInLane) and isinstance(second, RetryInLane)
    assert second.at_ms - (NOW_MS + 100) > first.at_ms - NOW_MS
    last = some.failed(record, ModelFailed, FAILURE, "key", NOW_MS + 10**9)
    assert isinstance(last, Error)
    assert (last.case.attempt, last.case.first_failure_ms) == (3, NOW_MS)
    assert (last.code, last.message, last.model, last.id) == (
        "model_error",
        "it failed",
        "digits",
        "a",
    )


def test_failure_without_order_climbs_the_ladder() -> None:
    later = cases().failed(Kafka(4), ModelFailed, FAILURE, "none", NOW_MS)
    assert isinstance(later, Later) and later.rung == 0 and later.not_before_ms > NOW_MS


def test_final_failure_ends_at_once() -> None:
    assert isinstance(cases().failed(Kafka(4), SchemaInvalid, FAILURE, "none", NOW_MS), Error)


@pytest.mark.parametrize(
    ("value", "headers", "expected"),
    [
        (b'{"id":"a","model_name":"m","model_version":"2"}', [], ("a", "m", "2")),
        (
            b'{"id":"a"}',
            [("chimera-model", b"m"), ("chimera-model-version", b"2")],
            ("a", "m", "2"),
        ),
        (b'{"id":"a"}\0\0\0', [("inference-header-content-length", b"10")], ("a", "", "")),
        (b'{"id":"a"}\0\0\0', [], (None, "", "")),
        (b'{"id":"a"}\0\0\0', [("inference-header-content-length", b"9" * 99)], (None, "", "")),
        (b"[" * 200_000, [("chimera-model", b"\xff")], (None, "\ufffd", "")),
        (None, [], (None, "", "")),
    ],
)
def test_request_that_was_not_read_is_named_as_far_as_it_tells(
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
    expected: tuple[str | None, str, str],
) -> None:
    ended = cases().ended(Kafka(4, value=value, headers=headers), TooLarge("too large"), NOW_MS)
    assert (ended.id, ended.model, ended.version) == expected
    assert (ended.code, ended.case.attempt) == ("too_large", 1)


def test_deaths_are_counted_until_their_requests_are_committed() -> None:
    some = cases(crash_limit=2)
    assert some.accuse([3, 7]) == {3: 1, 7: 1}
    assert some.may_be_tried(3)
    assert some.accuse([3]) == {3: 2}
    assert not some.may_be_tried(3) and some.may_be_tried(7) and some.may_be_tried(99)
    some.ended(Kafka(5), DeadlineExceeded("late"), NOW_MS)
    assert some.offsets == {3, 5, 7}
    assert some.close_below(7) == [3]
    assert some.offsets == {7}


def test_case_of_a_binary_request_keeps_its_headers() -> None:
    head = json.dumps({"id": "a", "model_name": "m"}).encode()
    story: list[tuple[str, bytes | None]] = [
        ("inference-header-content-length", b"%d" % len(head)),
        ("traceparent", b"00-x"),
    ]
    ended = cases().ended(Kafka(1, value=head + b"\0", headers=story), TooLarge("x"), NOW_MS)
    assert (ended.id, ended.model, ended.case.original) == ("a", "m", story)


def test_time_of_a_wait_is_not_held_against_a_request_that_failed_before_it() -> None:
    some, record = cases(), Kafka(4)
    some.failed(record, ModelFailed, FAILURE, "key", NOW_MS)
    some.waited({4: 60_000, 5: 60_000})
    again = some.failed(record, ModelFailed, FAILURE, "key", NOW_MS + 60_100)
    assert isinstance(again, RetryInLane)
    last = some.failed(record, ModelFailed, FAILURE, "key", NOW_MS + 65_000)
    assert isinstance(last, Error) and last.case.first_failure_ms == NOW_MS
