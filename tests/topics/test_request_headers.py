import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.batches import ENVELOPE_BYTES
from chimera.schemas.errors import Malformed, RequestError, SchemaInvalid, TooLarge
from chimera.topics.request_headers import (
    NONE,
    RequestHeaders,
    came_late,
    expires_ms,
    parse,
    require_size,
)

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

known = [
    "chimera-model",
    "chimera-model-version",
    "chimera-tenant",
    "chimera-deadline",
    "chimera-priority",
    "chimera-generation",
    "chimera-kid",
    "inference-header-content-length",
    "traceparent",
]


def test_parse_without_headers_is_a_constant() -> None:
    assert parse([]) is NONE
    assert parse(()) is NONE


def test_parse_reads_what_a_lane_needs() -> None:
    found = parse(
        [
            ("content-type", b"application/octet-stream"),
            ("inference-header-content-length", b"120"),
            ("chimera-deadline", b"1763717416000"),
            ("chimera-model", "größe".encode()),
            ("chimera-model-version", b"3"),
            ("chimera-tenant", b"acme"),
            ("chimera-priority", b"01"),
            ("chimera-generation", b"2"),
            ("traceparent", TRACE),
        ]
    )
    assert found == RequestHeaders(
        120,
        1_763_717_416_000,
        {
            "model": "größe",
            "version": "3",
            "tenant": "acme",
            "priority": "1",
            "generation": "2",
            "traceparent": TRACE.decode(),
        },
    )


def test_parse_leaves_foreign_headers_alone() -> None:
    foreign = [("a", b"1"), ("a", b"\xff"), ("ce_id", None), ("Chimera-Model", b"x"), ("", b"")]
    assert parse(foreign) == NONE


@pytest.mark.parametrize("name", [name for name in known if name != "traceparent"])
def test_parse_header_that_stands_twice_is_refused_by_name(name: str) -> None:
    with pytest.raises(RequestError, match=f"header {name}: stands twice"):
        parse([(name, b"1"), ("other", b"1"), (name, b"1")])


@pytest.mark.parametrize("name", ["chimera-deadline", "chimera-priority", "chimera-generation"])
@pytest.mark.parametrize(
    "value",
    [None, b"", b"-1", b"+1", b" 1", b"1_0", b"0x1", b"1.5", "١".encode(), b"9" * 19, b"\xff"],
)
def test_parse_what_is_no_number_is_refused_by_name(name: str, value: bytes | None) -> None:
    with pytest.raises(SchemaInvalid, match=f"header {name}: "):
        parse([(name, value)])


def test_parse_head_length_that_is_no_number_is_malformed() -> None:
    with pytest.raises(Malformed, match="inference-header-content-length"):
        parse([("inference-header-content-length", b"12a")])


def test_parse_head_length_zero_is_not_the_same_as_none() -> None:
    assert parse([("inference-header-content-length", b"0")]).head_length == 0
    assert parse([("chimera-model", b"m")]).head_length == -1


def test_parse_deadline_zero_is_refused_and_the_largest_is_read() -> None:
    with pytest.raises(SchemaInvalid, match="chimera-deadline"):
        parse([("chimera-deadline", b"0")])
    assert parse([("chimera-deadline", b"9" * 18)]).deadline_ms == 10**18 - 1


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"x" * 256])
@pytest.mark.parametrize("name", ["chimera-model", "chimera-model-version", "chimera-tenant"])
def test_parse_text_that_names_nothing_is_refused_by_name(name: str, value: bytes | None) -> None:
    with pytest.raises(SchemaInvalid, match=f"header {name}: "):
        parse([(name, value)])


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"00-abc",
        TRACE.upper(),
        TRACE + b"-more",
        TRACE + b"\n",
        b"ff" + TRACE[2:],
        TRACE.replace(b"0af7651916cd43dd8448eb211c80319c", b"0" * 32),
        TRACE.replace(b"b7ad6b7169203331", b"0" * 16),
    ],
)
def test_parse_traceparent_that_is_none_is_ignored(value: bytes | None) -> None:
    assert parse([("traceparent", value)]) == NONE


def test_parse_traceparent_of_a_later_version_is_kept() -> None:
    later = b"01" + TRACE[2:] + b"-more"
    assert parse([("traceparent", later)]).extras == {"traceparent": later.decode()}


def test_parse_two_traceparents_are_none() -> None:
    assert parse([("traceparent", TRACE), ("traceparent", TRACE)]) == NONE
    assert parse([("traceparent", TRACE)] * 3) == NONE


@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from(known), st.text(max_size=20)),
            st.one_of(st.none(), st.binary(max_size=60), st.just(TRACE), st.just(b"7")),
        ),
        max_size=8,
    )
)
def test_parse_of_anything_is_headers_or_a_typed_error(
    headers: list[tuple[str, bytes | None]],
) -> None:
    try:
        found = parse(headers)
    except (Malformed, SchemaInvalid) as error:
        assert str(error).startswith("header ")
        return
    assert found.head_length >= -1
    assert found.deadline_ms >= 0
    assert found.extras is None or all(found.extras.values())


def test_require_size_at_the_limit_passes_and_one_more_does_not() -> None:
    require_size(None, bytes(1_000), (), 1_000)
    with pytest.raises(TooLarge, match="1001 bytes, the limit is 1000"):
        require_size(None, bytes(1_001), (), 1_000)


def test_require_size_counts_key_and_headers_together() -> None:
    half = ENVELOPE_BYTES // 2
    require_size(bytes(half), b"", [("h", bytes(half - 6))], 1_000)
    with pytest.raises(TooLarge, match="key and headers"):
        require_size(bytes(half), b"", [("h", bytes(half - 5))], 1_000)
    with pytest.raises(TooLarge, match="key and headers"):
        require_size(bytes(ENVELOPE_BYTES + 1), None, (), 1_000)


def test_expires_gives_the_caller_the_tolerance() -> None:
    assert expires_ms(1_000, 100) == 1_100
    assert expires_ms(0, 100) == 0


@pytest.mark.parametrize(
    ("expires", "append", "passed"),
    [(0, 10**15, False), (1_100, 900, False), (1_100, 1_100, False), (1_100, 1_101, True)],
)
def test_came_late_by_the_brokers_clock(expires: int, append: int, passed: bool) -> None:
    assert came_late(expires, append) is passed
