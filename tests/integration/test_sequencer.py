"""The sequencer on a real broker: every request one leaf, one root a size, through its deaths."""

import asyncio
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.schemas.settings import Settings
from chimera.schemas.transparency import checkpoints, policy_file
from chimera.schemas.transparency.leaves import RequestServed, decode_leaf
from chimera.stores.checkpoint_file import CheckpointFile, head_of
from chimera.topics.producers import Fenced
from tests.agents.sequencing.places import (
    WITHIN_S,
    Place,
    die_at,
    play,
    sequencing,
    settings_of,
)
from tests.schemas.transparency.logs import ORIGIN

STEPS = (
    "before_begin",
    "after_produce",
    "after_send_offsets",
    "before_commit",
    "after_commit",
    "before_checkpoint",
    "after_checkpoint",
)
KILLS = 10
SPAN = 50  # requests of a segment


def variables(settings: Settings, folder: Path) -> dict[str, str]:
    """The environment of a sequencer that is a process."""
    return os.environ | {
        "CHIMERA_KAFKA__BOOTSTRAP": settings.kafka.bootstrap or "",
        "CHIMERA_KAFKA__GROUP": settings.kafka.group,
        "CHIMERA_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
        "CHIMERA_KAFKA__PARTITIONS": str(settings.kafka.partitions),
        "CHIMERA_AUDIT__ORIGIN": ORIGIN,
        "CHIMERA_AUDIT__KEY_FILE": str(folder / "key.pem"),
        "CHIMERA_AUDIT__CHECKPOINTS_FILE": str(folder / "checkpoints.txt"),
    }


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


def test_requests_become_leaves_once_through_kills(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_of(kafka, prefix, tmp_path)
    context = multiprocessing.get_context("forkserver")  # what they import is imported once
    context.set_forkserver_preload([die_at.__module__])
    chance = random.Random(7)

    async def work(place: Place) -> None:
        for life in range(KILLS):
            start = life * 2 * SPAN
            for partition in (0, 1):
                spans = [(start, start + SPAN), (start + SPAN, start + 2 * SPAN)]
                await place.journal(partition, *spans)
            step, visit = STEPS[life % len(STEPS)], chance.randint(1, 2)
            child = context.Process(
                target=die_at, args=(settings.model_dump_json().encode(), step, visit)
            )
            child.start()
            await asyncio.to_thread(child.join, WITHIN_S)
            assert child.exitcode == -signal.SIGKILL, step
        requests = KILLS * 4 * SPAN
        async with sequencing(settings):
            await place.signed(requests)
        await require_whole(place, tmp_path, requests)

    play(settings, work)


def test_sequencer_as_a_process_signs_what_is_left_when_it_is_told_to_stop(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(kafka, prefix, tmp_path)
    ready, environment = tmp_path / "ready", variables(settings, tmp_path)
    command = [sys.executable, "-m", "chimera.cli", "sequencer"]

    def run(*arguments: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, *arguments],
            env=environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    async def work(place: Place) -> None:
        refused = CliRunner().invoke(app, ["sequencer"], env=environment)
        assert (refused.exit_code, "no key to sign with" in refused.stderr) == (1, True)
        made = CliRunner().invoke(app, ["sequencer", "--make-key"], env=environment).stdout
        (tmp_path / "policy").write_text(f"log {made.strip()}\nquorum none\n")
        await place.journal(1, (0, SPAN))
        killed = run(CHIMERA_CRASH_AT="after_commit:1")
        await asyncio.to_thread(killed.communicate)
        assert killed.returncode == -signal.SIGKILL
        running = run("--ready-file", str(ready))
        while not ready.exists():  # the process writes it
            assert running.poll() is None
            await asyncio.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        await asyncio.to_thread(running.communicate)
        assert running.returncode == 0
        (*_, last) = await place.notes()
        assert head_of(last).size == SPAN == len(await offsets(place))
        policy = policy_file.decode((tmp_path / "policy").read_bytes(), "policy")
        assert (await place.verdict(policy)).is_good

    play(settings, work)


def test_sequencer_that_starts_takes_the_log_over(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_of(kafka, prefix, tmp_path)

    async def work(place: Place) -> None:
        await place.journal(0, (0, SPAN))
        with pytest.raises(Fenced):
            async with sequencing(settings) as first:
                await place.signed(SPAN)
                async with sequencing(settings):
                    await place.journal(0, (SPAN, 2 * SPAN))
                    await asyncio.wait((first,), timeout=WITHIN_S)
                    await place.signed(2 * SPAN)
        await require_whole(place, tmp_path, 2 * SPAN)

    play(settings, work)
