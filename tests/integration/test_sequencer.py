"""The sequencer on a real broker: every request one leaf, one root a size, through its deaths."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from chimera.cli.audit.sequencer import started_again
from chimera.cli.main import app
from chimera.cli.refusals import told
from chimera.cli.stack.ports import HOST, free_port
from chimera.schemas.errors import (
    DiskUnavailable,
    HistoryConflict,
    KafkaUnavailable,
    PositionsForgotten,
    SchemaInvalid,
)
from chimera.schemas.settings import Settings
from chimera.schemas.transparency import log_records, policy_file
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


TOLD = ("its key was made", "it began with new settings", "and with others: a port for metrics")


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


def scraped(port: int, *lines: str) -> str:
    """The metrics, once they have these lines."""
    until_s = time.monotonic() + WITHIN_S
    while True:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=WITHIN_S) as answer:
            shown = str(answer.read().decode())
        if all(line in shown for line in lines):
            return shown
        assert time.monotonic() < until_s, shown
        time.sleep(0.05)


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
        port = free_port()
        running = run("--ready-file", str(ready), CHIMERA_AUDIT__METRICS_PORT=str(port))
        while not ready.exists():  # the process writes it
            assert running.poll() is None
            await asyncio.sleep(0.05)
        lane = f'partition="1",topic="{place.topics.journal.name}"'
        shown = await asyncio.to_thread(
            scraped,
            port,
            f"chimera_audit_log_leaves {SPAN + len(TOLD)}.0",
            f"chimera_checkpoint_leaves {SPAN + len(TOLD)}.0",
            f"chimera_sequencer_lag_records{{{lane}}} 0.0",
        )
        assert "chimera_checkpoint_age_seconds nan" not in shown.lower()
        running.send_signal(signal.SIGTERM)
        await asyncio.to_thread(running.communicate)
        assert running.returncode == 0
        (*_, last) = await place.notes()
        assert SPAN == len(await offsets(place))
        assert head_of(last).size == SPAN + len(TOLD)
        policy = policy_file.decode((tmp_path / "policy").read_bytes(), "policy")
        assert (await place.verdict(policy)).is_good

    refused = CliRunner().invoke(app, ["sequencer"], env=environment)
    assert (refused.exit_code, "no key to sign with" in refused.stderr) == (1, True)
    play(settings, work)


def test_key_is_made_for_a_new_log_and_not_for_one_that_another_key_signs(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    """As `chimera up` starts it on a host with no key of its own."""
    settings = settings_of(kafka, prefix, tmp_path)

    def run(name: str) -> tuple[Path, subprocess.Popen[str]]:
        folder = tmp_path / name
        folder.mkdir()
        told = ["--key-if-none", "--ready-file", str(folder / "ready")]
        process = subprocess.Popen(
            [sys.executable, "-m", "chimera.cli", "sequencer", *told],
            env=variables(settings, folder),
            stderr=subprocess.PIPE,
            text=True,
        )
        return folder, process

    async def work(place: Place) -> None:
        first, running = run("first")
        while not (first / "ready").exists():  # the process writes it
            assert running.poll() is None
            await asyncio.sleep(0.05)
        assert (first / "key.pem").exists()
        await place.signed(1)
        second, refused = run("second")
        _, why = await asyncio.to_thread(refused.communicate, timeout=WITHIN_S)
        assert (refused.returncode, "CHIMERA_STACK__SEQUENCER=false" in why) == (1, True)
        assert not (second / "key.pem").exists()
        assert not (second / "outbox").exists()
        running.send_signal(signal.SIGTERM)
        await asyncio.to_thread(running.communicate, timeout=WITHIN_S)
        assert running.returncode == 0

    play(settings, work)


def forget(settings: Settings) -> None:
    """As a broker does with a group that rests for `offsets.retention.minutes`."""
    client: Any = AdminClient({"bootstrap.servers": settings.kafka.bootstrap or ""})
    group = f"{settings.kafka.group}.sequencer"
    client.delete_consumer_groups([group])[group].result(WITHIN_S)


def test_log_goes_on_where_it_ended_though_kafka_has_forgotten_how_far_was_read(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(kafka, prefix, tmp_path)

    async def work(place: Place) -> None:
        await place.journal(0, (0, SPAN))
        async with sequencing(settings):
            await place.signed(SPAN)
        await asyncio.to_thread(forget, settings)
        await place.journal(1, (0, SPAN))
        async with sequencing(settings):
            await place.signed(2 * SPAN)
        await require_whole(place, tmp_path, 2 * SPAN)
        assert len(await offsets(place)) == 2 * SPAN

    play(settings, work)


@asynccontextmanager
async def sequencing_as_before(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[None]:
    """As a release does that tells no positions."""
    with monkeypatch.context() as before:
        before.setattr(log_records, "READ", "another-header")
        async with sequencing(settings):
            yield


def test_log_of_a_release_that_told_no_positions_goes_on_by_its_group(
    kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all inputs, those too that have nothing new when this release begins."""
    settings = settings_of(kafka, prefix, tmp_path)

    async def work(place: Place) -> None:
        for lane in (0, 1):
            await place.journal(lane, (0, SPAN))
        async with sequencing_as_before(settings, monkeypatch):
            await place.signed(2 * SPAN)
        for spans in (1, 2):
            await place.journal(0, (spans * SPAN, (spans + 1) * SPAN))
            async with sequencing(settings):
                await place.signed((2 + spans) * SPAN)
        await require_whole(place, tmp_path, 4 * SPAN)
        assert len(await offsets(place)) == 4 * SPAN

    play(settings, work)


def test_log_that_told_no_positions_begins_no_input_anew_unless_it_is_meant(
    kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and from there on the log tells them."""
    settings = settings_of(kafka, prefix, tmp_path)

    async def work(place: Place) -> None:
        await place.journal(0, (0, SPAN))
        async with sequencing_as_before(settings, monkeypatch):
            await place.signed(SPAN)
        await asyncio.to_thread(forget, settings)
        await place.journal(0, (SPAN, 2 * SPAN))
        with pytest.raises(PositionsForgotten, match="journal: .* --read-again"):
            async with sequencing(settings):
                pass
        assert len(await offsets(place)) == SPAN
        async with sequencing(settings, read_again=True):
            await place.signed(3 * SPAN)
        await asyncio.to_thread(forget, settings)
        await place.journal(0, (2 * SPAN, 3 * SPAN))
        async with sequencing(settings):
            await place.signed(4 * SPAN)
        found = await offsets(place)
        assert (len(found), len(set(found))) == (4 * SPAN, 3 * SPAN)

    play(settings, work)


def test_partition_that_a_log_without_positions_has_never_read_is_new(
    kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(kafka, prefix, tmp_path)

    async def work(place: Place) -> None:
        await place.journal(0, (0, SPAN))
        async with sequencing_as_before(settings, monkeypatch):
            await place.signed(SPAN)
        await place.journal(1, (0, SPAN))
        async with sequencing(settings):
            await place.signed(2 * SPAN)
        await require_whole(place, tmp_path, 2 * SPAN)
        assert len(await offsets(place)) == 2 * SPAN

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


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DiskUnavailable("No space left on device"), 70),
        (KafkaUnavailable("no broker"), 70),
        (Fenced("another one"), 70),
        (HistoryConflict("a larger tree"), 1),
        (SchemaInvalid("no segment"), 1),
    ],
)
def test_only_what_may_pass_is_started_again(error: Exception, status: int) -> None:
    with pytest.raises(typer.Exit) as ended, told("sequencer"), started_again():
        raise error
    assert ended.value.exit_code == status
