"""Sequencers killed again and again, and what they leave: each request one leaf, each size one root.

    python -m tests.agents.sequencing.killing [KILLS] [SEED]

It is a hundred kills on a broker of its own, unless another number is given; the tests run ten.
"""

import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from chimera.cli.kafka.server import EmbeddedKafka
from chimera.schemas.settings import Settings
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.leaves import RequestServed, decode_leaf
from chimera.stores.checkpoint_file import CheckpointFile, head_of
from tests.agents.sequencing.places import WITHIN_S, Place, die_at, play, sequencing, settings_of
from tests.forks import FORKS

STEPS = (
    "before_begin",
    "after_produce",
    "after_send_offsets",
    "before_commit",
    "after_commit",
    "before_checkpoint",
    "after_checkpoint",
)
SPAN = 50  # requests of a segment


def survive(settings: Settings, folder: Path, kills: int, seed: int) -> Counter[str]:
    """Kill so many, each at a step; then let one finish, and look. Returns the kills of each step."""
    chance, done = random.Random(seed), Counter[str]()

    async def work(place: Place) -> None:
        for life in range(kills):
            start = life * 2 * SPAN
            for partition in (0, 1):
                spans = [(start, start + SPAN), (start + SPAN, start + 2 * SPAN)]
                await place.journal(partition, *spans)
            step, visit = STEPS[life % len(STEPS)], chance.randint(1, 2)
            child = FORKS.Process(
                target=die_at, args=(settings.model_dump_json().encode(), step, visit)
            )
            child.start()
            await asyncio.to_thread(child.join, WITHIN_S)
            assert child.exitcode == -signal.SIGKILL, step
            done[step] += 1
        async with sequencing(settings):
            await place.signed(kills * 4 * SPAN)
        await require_whole(place, folder, kills * 4 * SPAN)

    play(settings, work)
    return done


async def offsets(place: Place) -> list[tuple[int, int]]:
    """Of requests with a leaf, in the log's order."""
    leaves = [decode_leaf(one.body) for one in await place.leaves()]
    return [(one.partition, int(one.offset)) for one in leaves if isinstance(one, RequestServed)]


async def require_whole(place: Place, folder: Path, requests: int) -> None:
    """No leaf is missing, none is there twice, and each size has one root."""
    found = await offsets(place)
    assert len(found) == len(set(found)) == requests
    assert [one.log_index for one in await place.leaves()] == list(range(requests))
    verdict = await place.verdict()
    assert verdict.is_good, verdict.faults
    kept = checkpoints.split(CheckpointFile(folder / "checkpoints.txt").path.read_bytes())
    heads = [head_of(note) for note in (*kept, *await place.notes())]
    assert len({head.size for head in heads}) == len({(head.size, head.root) for head in heads})


def main(kills: str = "100", seed: str = "1") -> None:
    began_s = time.monotonic()
    with EmbeddedKafka() as broker, tempfile.TemporaryDirectory() as folder:
        settings = settings_of(broker.bootstrap, "k.", Path(folder))
        done = survive(settings, Path(folder), int(kills), int(seed))
    took_s = time.monotonic() - began_s
    told = ", ".join(f"{step} {count}" for step, count in done.items())
    sys.stdout.write(f"{done.total()} kills in {took_s:.0f} s, nothing lost or twice: {told}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
