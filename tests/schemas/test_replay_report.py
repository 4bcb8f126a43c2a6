"""Reports of replays: kept as they were made, read by this release, compared by their limits."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import SchemaInvalid
from chimera.schemas.replay_report import (
    ReplayCounts,
    ReplayLimits,
    ReplayReport,
    Speed,
    decode,
    encode,
)

REPORT = ReplayReport(
    model="digits",
    version="2",
    sha256="c" * 64,
    since_ms=1,
    until_ms=2,
    made_at_ms=3,
    took_s=0.5,
    limits=ReplayLimits(),
    counts=ReplayCounts(agreed=990, disagreed=4, mended=1, pinned=5),
    served=Speed(p50_us=90.0, p99_us=200.0, mean_rows=4.0),
    candidate=Speed(p50_us=80.0, p99_us=300.0, mean_rows=4.0),
    verdict="passed",
    reason="error rate 0 of 994",
)
RATES = st.sampled_from([0.0, 0.01, 0.5, 1.0])
LIMITS = st.builds(
    ReplayLimits,
    min_requests=st.integers(0, 3),
    max_disagreement=RATES,
    max_error_rate=RATES,
    max_p99_ratio=st.sampled_from([None, 1.0, 3.0]),
)


def test_report_is_read_as_it_was_written() -> None:
    assert decode(encode(REPORT)) == REPORT
    assert (REPORT.counts.replayed, REPORT.counts.requests, REPORT.p99_ratio) == (995, 1000, 1.5)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", encode(REPORT).replace(b'"v":1', b'"v":2')])
def test_report_of_another_form_is_refused(raw: bytes) -> None:
    with pytest.raises(SchemaInvalid, match="replay report"):
        decode(raw)


@given(LIMITS, LIMITS)
def test_limits_hold_others_that_are_as_wide_in_everything(
    one: ReplayLimits, other: ReplayLimits
) -> None:
    assert one.holds(one)
    if one.holds(other) and other.holds(one):
        assert one == other
    narrower = msgspec.structs.replace(one, min_requests=one.min_requests + 1)
    assert narrower.holds(one) and not one.holds(narrower)


def test_limit_that_is_not_judged_holds_no_ratio() -> None:
    free, strict = ReplayLimits(max_p99_ratio=None), ReplayLimits(max_p99_ratio=2.0)
    assert strict.holds(free) and not free.holds(strict)
