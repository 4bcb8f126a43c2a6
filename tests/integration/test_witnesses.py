"""Witnesses that do not cosign, all of them real: one that is away, one that is none of this log's, two that saw another history."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import web

from chimera.agents.sequencing.sequencer import Sequencer
from chimera.cli.audit.witness_http import application
from chimera.cli.stack.ports import HOST, free_port
from chimera.schemas.settings import Settings
from chimera.schemas.signing import SigningKey
from chimera.schemas.transparency.checkpoints import log_key
from chimera.schemas.transparency.cosignatures import witness_key
from chimera.schemas.transparency.log_records import rows
from chimera.schemas.transparency.policy import LogKey, Policy
from chimera.schemas.transparency.verification import verify
from chimera.schemas.transparency.witnessing import Submission
from chimera.stores.checkpoint_file import head_of
from chimera.stores.witness import Cosigned, Witness
from tests.agents.sequencing.places import WITHIN_S, Place, play, running_of, settings_of
from tests.schemas.transparency.logs import KEY, ORIGIN, OTHER_KEY, Log, fixed_key, make_log

LEAVES = 100
KEYS = {name: fixed_key(20 + at) for at, name in enumerate(("away", "strange", "longer", "other"))}


@asynccontextmanager
async def listening(
    name: str, folder: Path, port: int, seen: Log | None = None, log: SigningKey = KEY
) -> AsyncGenerator[None]:
    """A witness of the log of this key, which has cosigned a history before."""
    with Witness(name, KEYS[name], [log_key(ORIGIN, log)], folder / f"{name}.sqlite") as witness:
        if seen is not None:
            size = len(seen.bodies)
            asked = Submission(0, (), seen.note(size), seen.head(size)).encode()
            assert isinstance(witness.submit(asked), Cosigned)
        runner = web.AppRunner(application(witness))
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port).start()
            yield
        finally:
            await runner.cleanup()


async def answered(sequencer: Sequencer, name: str, result: str, count: int = 1) -> None:
    """Once a witness has answered so, so often."""
    value_of = sequencer.metrics.registry.get_sample_value
    told = ("chimera_witness_answers_total", {"witness": name, "result": result})
    async with asyncio.timeout(WITHIN_S):
        while (value_of(*told) or 0) < count:  # noqa: ASYNC110  # nothing announces it
            await asyncio.sleep(0.02)


def asking(settings: Settings, ports: dict[str, int]) -> Settings:
    lines = tuple(
        f"{witness_key(name, KEYS[name]).text} http://{HOST}:{port}" for name, port in ports.items()
    )
    audit = settings.audit.model_copy(update={"witnesses": lines})
    return settings.model_copy(update={"audit": audit})


def test_witnesses_that_do_not_cosign_are_told_apart_and_asked_again(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    ports = {name: free_port() for name in KEYS}
    settings = asking(settings_of(kafka, prefix, tmp_path), ports)
    longer, other = make_log(3 * LEAVES), Log([b"{}"] * LEAVES)
    log = (LogKey(log_key(ORIGIN, KEY)),)
    policy = Policy(log, {"away": witness_key("away", KEYS["away"])}, quorum="away")

    async def work(place: Place) -> None:
        await place.journal(0, (0, LEAVES))
        async with AsyncExitStack() as stack:
            for one in (
                listening("strange", tmp_path, ports["strange"], log=OTHER_KEY),
                listening("longer", tmp_path, ports["longer"], longer),
                listening("other", tmp_path, ports["other"], other),
            ):
                await stack.enter_async_context(one)
            first = Sequencer(settings, kafka, KEY)
            async with running_of(first):
                await place.signed(LEAVES)
                await answered(first, "away", "silent", 2)  # though no leaf is new
                await answered(first, "strange", "refused")
                await answered(first, "longer", "contradicts")
                await answered(first, "other", "contradicts")
            notes = await place.notes()
            verdict = verify(rows(await place.leaves()), notes, policy)
            assert {fault.kind for fault in verdict.faults} == {"unwitnessed"}
            await stack.enter_async_context(listening("away", tmp_path, ports["away"]))
            second = Sequencer(settings, kafka, KEY)
            async with running_of(second):
                await answered(second, "away", "cosigned")
                await answered(second, "longer", "contradicts", 2)
        cosigned = await place.notes()
        assert [head_of(note) for note in cosigned[len(notes) :]] == [head_of(notes[-1])]
        assert verify(rows(await place.leaves()), cosigned, policy).is_good

    play(settings, work)


async def believed(place: Place, leaves: int, policy: Policy) -> None:
    """Once so many leaves are in a checkpoint that its witness has cosigned."""
    async with asyncio.timeout(WITHIN_S):
        while (verdict := await place.verdict(policy)).leaves < leaves or not verdict.is_good:  # noqa: ASYNC110  # nothing announces it
            await asyncio.sleep(0.05)


def test_witness_that_keeps_up_cosigns_each_checkpoint_and_one_that_was_away_the_next(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    """The first is proved what was remembered since it was asked last, the second what the log holds."""
    ports = {name: free_port() for name in ("strange", "away")}
    settings = asking(settings_of(kafka, prefix, tmp_path), ports)
    log = (LogKey(log_key(ORIGIN, KEY)),)
    strange, away = [
        Policy(log, {name: witness_key(name, KEYS[name])}, quorum=name) for name in ports
    ]

    async def work(place: Place) -> None:
        sequencer = Sequencer(settings, kafka, KEY)
        async with listening("strange", tmp_path, ports["strange"]), running_of(sequencer):
            async with listening("away", tmp_path, ports["away"]):
                await place.journal(0, (0, LEAVES))
                for policy in (strange, away):
                    await believed(place, LEAVES, policy)
            for start in range(LEAVES, 5 * LEAVES, LEAVES):
                await place.journal(0, (start, start + LEAVES))
                await believed(place, start + LEAVES, strange)
            async with listening("away", tmp_path, ports["away"]):
                await believed(place, 5 * LEAVES, away)

    play(settings, work)
