"""The sequencer on a real broker: every request one leaf, one root a size, through its deaths."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.schemas.settings import Settings
from chimera.schemas.transparency import policy_file
from chimera.stores.checkpoint_file import head_of
from chimera.topics.producers import Fenced
from tests.agents.sequencing.killing import STEPS, offsets, require_whole, survive
from tests.agents.sequencing.places import (
    WITHIN_S,
    Place,
    play,
    sequencing,
    settings_of,
)
from tests.schemas.transparency.logs import ORIGIN

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
        "CHIMERA_KEYS__SIGNING_FILE": str(folder / "none.pem"),
        "CHIMERA_KEYS__TRUSTED_DIR": str(folder / "none"),
    }


def test_requests_become_leaves_once_through_kills(kafka: str, prefix: str, tmp_path: Path) -> None:
    killed = survive(settings_of(kafka, prefix, tmp_path), tmp_path, kills=10, seed=7)
    assert killed.total() == 10
    assert set(killed) == set(STEPS)


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
        ask = CliRunner().invoke
        made = await asyncio.to_thread(ask, app, ["sequencer", "--make-key"], env=environment)
        (tmp_path / "policy").write_text(f"log {made.stdout.strip()}\nquorum none\n")
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
        assert SPAN == len(await offsets(place))
        assert head_of(last).size == SPAN + len(("its key was made", "it began with new settings"))
        policy = policy_file.decode((tmp_path / "policy").read_bytes(), "policy")
        assert (await place.verdict(policy)).is_good

    refused = CliRunner().invoke(app, ["sequencer"], env=environment)
    assert (refused.exit_code, "no key to sign with" in refused.stderr) == (1, True)
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
