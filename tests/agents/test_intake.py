"""What a lane refuses before anybody decodes it, and what it hands on."""

import pytest

from chimera.agents.lanes.intake import Intake, Rules, take_in
from chimera.schemas.withheld import Withheld
from tests.agents.lanes import Kafka

RULES = Rules("inference.requests", 3, 7, False, 1_000, 100)
Headers = list[tuple[str, bytes | None]]


def taken(*records: Kafka | Withheld, rules: Rules = RULES) -> Intake:
    return take_in(rules, records, entered_ns=5)


def test_intake_hands_plain_records_on_as_they_are() -> None:
    work = taken(Kafka(4, value=b"a"), Kafka(6, value=b"b")).work
    assert (work.lane, work.topic, work.partition, work.entered_ns) == (
        7,
        "inference.requests",
        3,
        5,
    )
    assert (work.offsets, work.values) == ([4, 6], [b"a", b"b"])
    assert (work.heads, work.deadlines, work.extras) == ([-1, -1], [0, 0], {})


def test_intake_reads_the_headers_that_matter() -> None:
    headers: Headers = [
        ("inference-header-content-length", b"12"),
        ("chimera-deadline", b"1000"),
        ("chimera-model", b"digits"),
        ("other", b"\xff"),
    ]
    found = taken(Kafka(0), Kafka(1, headers=headers, timestamp=900))
    assert found.work.heads == [-1, 12]
    assert found.work.deadlines == [0, 1_100]
    assert found.deadlines == [(1_100, 1)]
    assert found.work.extras == {1: {"model": "digits"}}


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (Kafka(0, value=None), "malformed"),
        (Kafka(0, value=b"v" * 1_001), "too_large"),
        (Kafka(0, key=b"k" * 40_000, headers=[("a", b"b")]), "too_large"),
        (Kafka(0, key=b"k" * 40_000), "too_large"),
        (Withheld(0, 1_000), "too_large"),
        (Kafka(0, headers=[("inference-header-content-length", b"x")]), "malformed"),
        (Kafka(0, headers=[("chimera-deadline", b"soon")]), "schema_invalid"),
        (Kafka(0, headers=[("chimera-model", b"a"), ("chimera-model", b"b")]), "schema_invalid"),
    ],
)
def test_intake_refuses(record: Kafka | Withheld, code: str) -> None:
    found = taken(record, Kafka(1))
    assert [(offset, error.code) for offset, error in found.refused] == [(0, code)]
    assert found.work.offsets == [1]


@pytest.mark.parametrize(("appended_ms", "codes"), [(1_100, []), (1_101, ["deadline_exceeded"])])
def test_intake_refuses_what_had_expired_by_the_brokers_clock(
    appended_ms: int, codes: list[str]
) -> None:
    """With the tolerance, and whatever the clock here says."""
    late = Kafka(0, headers=[("chimera-deadline", b"1000")], timestamp=appended_ms)
    found = taken(late, Kafka(1))
    assert [error.code for _, error in found.refused] == codes
    assert found.work.offsets == ([1] if codes else [0, 1])
    assert found.deadlines == [(1_100, 0)], "its lane looks for more of them"


def test_intake_keeps_extras_with_their_request_after_a_refusal() -> None:
    found = taken(Kafka(0, value=None), Kafka(1, headers=[("chimera-model", b"m")]))
    assert found.work.extras == {0: {"model": "m"}} and found.work.offsets == [1]


def test_intake_of_a_retry_topic_restores_the_original() -> None:
    rules = Rules("inference.requests.retry.5s", 3, 7, True, 1_000, 100)
    headers: Headers = [
        ("mine", b"1"),
        ("chimera-orig-topic", b"inference.requests"),
        ("chimera-orig-partition", b"3"),
        ("chimera-orig-offset", b"42"),
        ("chimera-orig-timestamp", b"17"),
        ("chimera-attempt", b"2"),
        ("chimera-error-code", b"model_error"),
        ("chimera-error-message", b"no"),
        ("chimera-first-failure", b"18"),
        ("chimera-not-before", b"5000"),
    ]
    found = taken(Kafka(0, headers=headers), rules=rules)
    case = found.cases[0]
    assert case.original == [("mine", b"1")]
    assert (case.origin.offset, case.attempt, case.first_failure_ms) == (42, 2, 18)
    assert found.due_ms == 5_000


def test_intake_of_a_retry_topic_refuses_what_chimera_did_not_write() -> None:
    rules = Rules("inference.requests.retry.5s", 3, 7, True, 1_000, 100)
    found = taken(Kafka(0, headers=[("chimera-orig-topic", b"x")]), Kafka(1), rules=rules)
    assert [error.code for _, error in found.refused] == ["schema_invalid", "schema_invalid"]


def test_intake_of_a_retry_topic_never_lends_one_requests_origin_to_another() -> None:
    rules = Rules("inference.requests.retry.5s", 3, 7, True, 1_000, 100)
    story: Headers = [
        ("chimera-orig-topic", b"inference.requests"),
        ("chimera-orig-partition", b"3"),
        ("chimera-orig-offset", b"42"),
        ("chimera-orig-timestamp", b"17"),
        ("chimera-attempt", b"2"),
        ("chimera-first-failure", b"18"),
        ("chimera-not-before", b"5000"),
    ]
    other: Headers = [*story[:2], ("chimera-orig-offset", b"43"), *story[3:]]
    found = taken(Kafka(0, value=None, headers=story), Kafka(1, headers=other), rules=rules)
    assert found.work.extras == {0: {"origin": "inference.requests:3:43"}}
