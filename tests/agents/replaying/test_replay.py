"""Recorded requests through a real executor, compared with what a real Kafka says was served."""

import asyncio
import random
from pathlib import Path

from chimera.agents.replaying.joining import Pair
from chimera.agents.replaying.replay import lots
from chimera.schemas.outcomes import Outcome
from chimera.schemas.replay_report import ReplayCounts
from tests.agents.lanes import Kafka
from tests.agents.replaying.past import CANDIDATE, MARK, Compressed, Past, asked, past
from tests.workers.rig import sums

KINDS: tuple[Compressed | None, ...] = (None, "gzip", "snappy", "lz4", "zstd")


async def record(at: Past, count: int, marked: set[int], partition: int) -> dict[int, bytes]:
    """Requests of several producers, of which some are such that the candidate differs."""
    values = [asked(MARK if number in marked else 0.0, number) for number in range(count)]
    found: dict[int, bytes] = {}
    size = -(-count // len(KINDS))
    for number, kind in enumerate(KINDS):
        piece = values[number * size : (number + 1) * size]
        offsets = await at.ask(piece, partition=partition, compression=kind)
        found.update(zip(offsets, piece, strict=True))
    return found


def served(at: Past, requests: dict[int, bytes], partition: int, wrong: float = 0.0) -> list[bytes]:
    """Each with its sum, and something that is wrong about all of them."""
    numbers = {offset: number for number, offset in enumerate(requests)}
    marked = {offset for offset, value in requests.items() if b"111.5" in value}
    return [
        at.response(
            offset, value, numbers[offset] + MARK * (offset in marked) + wrong, partition=partition
        )
        for offset, value in requests.items()
    ]


def test_replay_finds_each_disagreement_and_no_other(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    """Producers that compress or not, results that were aborted, two partitions, other models."""

    async def run() -> None:
        async with past(kafka, prefix, tmp_path, partitions=2) as at:
            marked = set(random.Random(7).sample(range(300), 23))
            for partition, count in enumerate((300, 120)):
                await at.ask([asked(1, model="other")] * 40, partition=partition)
                requests = await record(at, count, marked, partition)
                wrong = served(at, requests, partition, wrong=50.0)
                await at.serve(wrong, partition=partition, aborts=True)
                for start in range(0, count, 70):
                    piece = dict(list(requests.items())[start : start + 70])
                    tails = [
                        tail
                        for offset, tail in zip(
                            requests, served(at, requests, partition), strict=True
                        )
                        if offset in piece
                    ]
                    await at.serve(tails, partition=partition)
            tally, replay = await at.replay()
            expected = sum(number < count for count in (300, 120) for number in marked)
            assert tally.counts == ReplayCounts(agreed=420 - expected, disagreed=expected)
            first = tally.differences[0]
            assert first.request.startswith(f"{prefix}inference.requests:0:")
            assert first.served != first.candidate and "differ" in first.reason
            assert (tally.served.speed.mean_rows, tally.served.speed.p50_us > 1_000) == (8, True)
            assert 1 < tally.candidate.speed.mean_rows <= 8
            assert not replay.is_cut and not replay.given_up
            again, _ = await at.replay(max_requests=101)
            assert again.counts.replayed == 101

    asyncio.run(run())


def test_replay_tells_apart_what_cannot_be_compared(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with past(kafka, prefix, tmp_path) as at:
            fine, bad = asked(1, 2), b'{"model_name":"sums","inputs":[]}'
            (own, expired, mended, lost, gone, unread) = await at.ask([fine] * 6)
            pinned = await at.ask([asked(1, 2, model_version="1"), asked(3, 4, model_version="1")])
            (failed, broken) = await at.ask([bad, bad])
            (by_header,) = await at.ask(
                [fine.replace(b'"model_name": "sums", ', b"")], headers=[("chimera-model", b"sums")]
            )
            await at.ask([b"no json", b"\xff", b'{"model_name":7}'])
            await at.serve(
                [
                    at.response(own, fine, 3, digest=CANDIDATE),
                    at.error(expired, "deadline_exceeded"),
                    at.error(failed, "schema_invalid"),
                    *(at.response(offset, fine, 3) for offset in pinned),
                    at.response(by_header, fine, 3),
                    at.response(by_header, fine, 77),  # a repeated outcome: the first one counts
                    b"\x0cno-res\x00",
                    at.response(unread, fine, 3).replace(b'"outputs"', b'"outputz"'),
                ],
            )
            await at.serve([at.response(broken, fine, 3), at.error(mended, "model_error")])
            await at.serve([], letters=[at.letter(gone, fine, "worker_crashed")])
            tally, _ = await at.replay(sums())
            assert tally.counts == ReplayCounts(
                agreed=1,
                disagreed=1,
                broken=1,
                mended=2,
                both_failed=1,
                unanswered=1,
                unrelated=1,
                own=1,
                pinned=2,
            )
            assert lost not in (gone, mended)
            assert tally.errors == {"schema_invalid": 2}
            assert tally.served_errors == {
                "deadline_exceeded": 1,
                "schema_invalid": 1,
                "model_error": 1,
                "worker_crashed": 1,
            }

    asyncio.run(run())


def test_replay_of_a_past_that_retention_has_cut_says_so(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with past(kafka, prefix, tmp_path) as at:
            requests = dict.fromkeys(await at.ask([asked(1, 2)] * 60), asked(1, 2))
            await at.serve([at.response(offset, value, 3) for offset, value in requests.items()])
            await at.forget(at.topics.requests.name, 20)
            tally, replay = await at.replay()
            assert (tally.counts, replay.is_cut) == (ReplayCounts(agreed=40), True)
            await at.forget(at.topics.results.name, 50)
            tally, replay = await at.replay()
            assert (tally.counts, replay.is_cut) == (ReplayCounts(agreed=10, unanswered=30), True)

    asyncio.run(run())


def test_lot_holds_neighbours_of_batches_of_one_size() -> None:
    def pair(offset: int, rows: int) -> Pair:
        return Pair(Kafka(offset), Outcome("", b"", rows=rows))

    sizes = [3, 3, 3, 3, 1, 1, 3, 0, 0]
    found = list(lots(pair(offset, rows) for offset, rows in enumerate(sizes)))
    assert [[one.request.offset for one in lot] for lot in found] == [
        [0, 1, 2], [3], [4], [5], [6], [7, 8],
    ]  # fmt: skip
