"""What executors report: each computed request once, with its latency; and the report's frame."""

import asyncio
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.model_observed import Seen
from chimera.workers import frames
from chimera.workers.frames import BrokenFrame, Kind
from chimera.workers.models import write_model
from chimera.workers.reports import (
    Report,
    TierTransition,
    VersionSeen,
    frame_report,
    read_report,
)
from chimera.workers.watching.paces import size_of
from chimera.workers.watching.watch import Observation, total
from tests.workers import hostile_executor as hostile
from tests.workers.rig import REAL, Rig, block, manifest, request, sums, work, write_hostile

REPORT = Report(
    "cpu:0",
    (VersionSeen("m", "1", Seen(requests=5, latencies={0: 2, 160: 3}, compared=2, disagreed=1)),),
    (TierTransition("m", "1", "onnx-cpu", "closed", "open", "6 of 10 calls failed", 1),),
)


def test_report_survives_its_frame() -> None:
    frame = frame_report(REPORT)
    body = frame[frames.HEADER.size :]
    assert frames.read_header(frame[: frames.HEADER.size]) == (Kind.REPORT, len(body))
    assert read_report(body) == REPORT


@given(st.integers(0, 400), st.binary(max_size=6))
def test_report_that_is_spoilt_is_a_broken_frame(at: int, junk: bytes) -> None:
    body = frame_report(REPORT)[frames.HEADER.size :]
    spoilt = body[:at] + junk
    try:
        assert isinstance(read_report(spoilt), Report)
    except BrokenFrame:
        return


@pytest.mark.parametrize("bucket", [-1, 577])
def test_report_of_a_bucket_that_is_none_is_a_broken_frame(bucket: int) -> None:
    body = b'{"slot":"s","versions":[{"model":"m","version":"1","seen":{"latencies":{"%d":1}}}]}'
    with pytest.raises(BrokenFrame):
        read_report(body % bucket)


def seen(rig: Rig, model: str = "sums") -> Observation:
    return total(
        Observation.of(one.seen)
        for report in rig.reports
        for one in report.versions
        if one.model == model
    )


def test_executor_reports_what_it_computed_once(tmp_path: Path) -> None:
    """Works and blocks, in several reports; what no model saw is not among it."""
    write_model(tmp_path, sums(), manifest("sums"))

    async def scenario() -> None:
        async with Rig(tmp_path, REAL) as rig:
            began_ns = time.monotonic_ns()
            rig.pool.submit_block(block([request((at, 2), "sums") for at in range(600)]))
            await rig.until(lambda: seen(rig).requests == 600)
            rig.pool.submit(work([b"no json", *[request((1, 2), "sums")] * 40], start=600))
            await rig.until(lambda: seen(rig).requests == 640)
            took_us = (time.monotonic_ns() - began_ns) // 1000
            assert len(rig.reports) >= 2
            assert {report.slot for report in rig.reports} == {"cpu:0"}
            found = seen(rig)
            assert (found.errors, len(found.latencies)) == (0, 640)
            assert 0 < found.latencies.quantile_us(1.0) < 1.1 * took_us
            assert 0 < sum(map(len, found.paces.by_size.values())) < 640
            assert max(found.paces.by_size) > size_of(
                1
            )  # and of a processor, no more than there was
            assert all(
                0 < one.quantile_us(1.0) < 1.1 * took_us for one in found.paces.by_size.values()
            )
            await rig.answered(41)

    asyncio.run(scenario())


def test_executor_reports_none_of_those_that_its_model_refused(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        async with Rig(tmp_path) as rig:
            values = [request((0, 1))] * 9 + [request((hostile.RAISE, 1))]
            rig.pool.submit(work(values))
            await rig.answered(10)
            await rig.until(lambda: seen(rig, "hostile").requests >= 9)
            assert (seen(rig, "hostile").requests, seen(rig, "hostile").errors) == (9, 0)

    asyncio.run(scenario())
