"""A log as a sequencer left it in Kafka, witnessed and under two keys; and what an auditor does with it."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition
from typer.testing import CliRunner, Result

from chimera.agents.sequencing.published import Published
from chimera.cli.audit.witness_http import application
from chimera.cli.main import app
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import Settings
from chimera.schemas.signing import SigningKey
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint, log_key
from chimera.schemas.transparency.cosignatures import witness_key
from chimera.schemas.transparency.leaves import (
    ActionTaken,
    OffsetsReconciled,
    decode_leaf,
    encode_leaf,
)
from chimera.schemas.transparency.policy import LogKey, Policy
from chimera.stores.checkpoint_file import head_of
from chimera.stores.witness import Witness
from tests.agents.sequencing.places import WITHIN_S, Place, play, sequencing, settings_of
from tests.schemas.transparency.logs import KEY, ORIGIN, OTHER_KEY, WITNESSES, make_policy

WITNESS = WITNESSES["w1"]
NAME = "witness.example/w1"
LEAVES = 100
ACTION = ActionTaken(
    at_ms=1,
    tenant="acme",
    event_id="e-1",
    actor="ada",
    action="models.promote",
    object="acme/digits",
    reason="better",
    details={"version": "7"},
)
POLICY = (
    f"log {log_key(ORIGIN, KEY).text}\nlog {log_key(ORIGIN, OTHER_KEY).text} sizes:{LEAVES}-\n"
    f"witness w1 {witness_key(NAME, WITNESS).text}\nquorum w1\n"
)


@asynccontextmanager
async def witnessing(folder: Path) -> AsyncGenerator[str]:
    """A real witness that knows both keys, and what the sequencer calls it."""
    logs = [log_key(ORIGIN, key) for key in (KEY, OTHER_KEY)]
    with Witness(NAME, WITNESS, logs, folder / "w.sqlite") as witness:
        runner = web.AppRunner(application(witness))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"{witness.public.text} http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def commit(place: Place, partition: int, offset: int) -> None:
    """As lanes do, but with no segment."""
    group = place.settings.kafka.group
    consumer = AIOKafkaConsumer(bootstrap_servers=place.bootstrap, group_id=group)
    await consumer.start()
    try:
        where = TopicPartition(place.topics.requests.name, partition)
        consumer.assign([where])
        await consumer.commit({where: offset})
    finally:
        await consumer.stop()


async def reconciled(place: Place, missing: int) -> list[OffsetsReconciled]:
    """The leaves of reconciliation, once one tells of so many."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            leaves = [decode_leaf(one.body) for one in await place.leaves()]
            found = [one for one in leaves if isinstance(one, OffsetsReconciled)]
            if any(one.missing == missing for one in found):
                return found
            await asyncio.sleep(0.05)


def played(settings: Settings, folder: Path) -> None:
    """A hundred leaves and an action under one key; then another key, and offsets without leaves."""

    async def work(place: Place) -> None:
        async with witnessing(folder) as witness:
            asked = settings.model_copy(
                update={"audit": settings.audit.model_copy(update={"witnesses": (witness,)})}
            )
            await place.journal(0, (0, LEAVES - 40), (LEAVES - 40, LEAVES - 1))
            await place.act(encode_leaf(ACTION))
            async with sequencing(asked):
                await place.signed(LEAVES)
            await commit(place, 0, LEAVES + 7)
            reconciling = {"reconcile_ms": 200, "idle_ms": 100}
            often = asked.model_copy(update={"audit": asked.audit.model_copy(update=reconciling)})
            async with sequencing(often, OTHER_KEY):
                (found, *_) = [one for one in await reconciled(place, 8) if one.missing]
            assert (found.first_offset, found.end_offset) == ("0", str(LEAVES + 7))
            assert (found.leaves, found.committed) == (LEAVES - 1, LEAVES + 7)
        notes = await place.notes()
        heads = [head_of(note) for note in notes]
        assert heads[-1].size == len(await place.leaves())
        both, second = (
            Policy(tuple(LogKey(log_key(ORIGIN, key)) for key in keys))
            for keys in ((KEY, OTHER_KEY), (OTHER_KEY,))
        )
        (omitted,) = (await place.verdict(both)).faults
        told = decode_leaf((await place.leaves())[omitted.index].body)
        assert (omitted.kind, told) == ("omitted", found)
        faults = {fault.kind for fault in (await place.verdict(second)).faults}
        assert faults == {"forged", "omitted"}

    play(settings, work)


def audit(settings: Settings, folder: Path, *arguments: object, key: SigningKey = KEY) -> Result:
    environment = {
        "CHIMERA_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
        "CHIMERA_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
        "CHIMERA_AUDIT__ORIGIN": ORIGIN,
        "CHIMERA_AUDIT__KEY": key.pem().decode(),
    }
    return CliRunner().invoke(app, ["audit", *map(str, arguments)], env=environment)


def test_log_in_kafka_is_verified_exported_and_proved(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(kafka, prefix, tmp_path)
    played(settings, tmp_path)
    policy = tmp_path / "policy"
    policy.write_text(POLICY)

    verified = audit(settings, tmp_path, "verify", "--policy", policy)
    assert verified.exit_code == 2, verified.output
    assert verified.stdout.startswith("audit verify: NOT OK, ")
    lane = f"{prefix}inference.requests-0"
    assert f": omitted: 8 requests of {lane} have no leaf" in verified.stdout
    said = f"{lane}, offsets 0 to {LEAVES + 7}: 8 without a leaf, 0 leaves too many"
    assert f"reconciliation of {said}" in verified.stdout
    told = json.loads(audit(settings, tmp_path, "verify", "--policy", policy, "--json").stdout)
    assert [one["missing"] for one in told["unreconciled"]] == [8]
    assert [fault["kind"] for fault in told["faults"]] == ["omitted"]
    assert told["witnessed_size"] == told["leaves"]
    own = audit(settings, tmp_path, "verify")
    assert (own.exit_code, "forged" in own.stdout) == (2, True)  # the other key's checkpoints

    exported = audit(settings, tmp_path, "export", tmp_path / "export", "--policy", policy)
    assert exported.exit_code == 0, exported.output
    offline = audit(settings, tmp_path, "verify", "--export", tmp_path / "export", "--json")
    assert json.loads(offline.stdout)["faults"] == told["faults"]
    assert audit(settings, tmp_path, "export", tmp_path / "export").exit_code == 1  # is there

    proved = audit(settings, tmp_path, "prove", "r-0-17", "--to", tmp_path)
    assert proved.exit_code == 0, proved.output
    checked = audit(settings, tmp_path, "check", proved.stdout.strip(), "--policy", policy)
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout.splitlines()[-1])["offset"] == "17"
    assert "cosigned by w1" in checked.stdout
    unknown = audit(settings, tmp_path, "prove", "nobody")
    assert (unknown.exit_code, "no leaf has the request id" in unknown.stderr) == (1, True)


def test_rubbish_among_the_checkpoints_is_named_and_stops_nobody(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(kafka, prefix, tmp_path)
    huge = checkpoints.sign(Checkpoint(ORIGIN, 10**18, bytes(32)), OTHER_KEY).encode()

    async def work(place: Place) -> None:
        await place.journal(0, (0, LEAVES))
        async with sequencing(settings):
            await place.signed(LEAVES)
        await place.publish(b"rubbish", huge)
        notes = await place.notes()
        lost = settings.audit.model_copy(update={"checkpoints_file": tmp_path / "anew.txt"})
        for number, asked in enumerate((settings.audit, lost), 1):
            await place.journal(0, (LEAVES * number, LEAVES * (number + 1)))
            async with sequencing(settings.model_copy(update={"audit": asked})):
                await place.signed(LEAVES * (number + 1), make_policy())
        topic, strangers = place.topics.audit_checkpoints.name, [WITNESS.public.raw]
        by_none = Published(place.arguments, topic, strangers)
        assert await by_none.last(None) is None
        assert await by_none.last(notes[0]) == notes[0]
        by_another = Published(place.arguments, topic, [*strangers, OTHER_KEY.public.raw])
        assert await by_another.last(None) == huge

    play(settings, work)
    found = audit(settings, tmp_path, "verify", "--json")
    assert found.exit_code == 2, found.output
    told = json.loads(found.stdout)
    assert [fault["kind"] for fault in told["faults"]] == ["forged", "forged"]
    assert (told["leaves"], told["signed_size"]) == (3 * LEAVES, 3 * LEAVES)
    proved = audit(settings, tmp_path, "prove", "r-0-17", "--to", tmp_path)
    assert proved.exit_code == 0, proved.output
    exported = audit(settings, tmp_path, "export", tmp_path / "e")
    assert "300 leaves" in exported.stdout, exported.output
    assert "left out: 1 records that are no checkpoints" in exported.stderr
    offline = audit(settings, tmp_path, "verify", "--export", tmp_path / "e", "--json")
    assert [one["kind"] for one in json.loads(offline.stdout)["faults"]] == ["forged"]
    strange = audit(settings, tmp_path, "export", tmp_path / "s", key=WITNESS)
    assert (strange.exit_code, "is to be believed" in strange.stderr) == (1, True)


def test_key_that_never_signed_begins_no_log_that_another_one_signs(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    """As a second host's sequencer would, with a key and a file of its own."""
    settings = settings_of(kafka, prefix, tmp_path)
    elsewhere = {"checkpoints_file": tmp_path / "elsewhere.txt"}
    second = settings.model_copy(update={"audit": settings.audit.model_copy(update=elsewhere)})
    earlier = elsewhere | {"earlier_keys": (log_key(ORIGIN, KEY).text,)}
    replaced = settings.model_copy(update={"audit": settings.audit.model_copy(update=earlier)})

    async def work(place: Place) -> None:
        await place.journal(0, (0, LEAVES))
        async with sequencing(settings):
            notes = await place.signed(LEAVES)
            with pytest.raises(ConfigurationError, match="CHIMERA_STACK__SEQUENCER=false"):
                async with sequencing(second, OTHER_KEY):
                    pass
            assert (await place.notes())[-1] == notes[-1]
            await place.journal(0, (LEAVES, 2 * LEAVES))
            await place.signed(2 * LEAVES)  # whose log it is was not fenced
        await place.journal(0, (2 * LEAVES, 3 * LEAVES))
        async with sequencing(replaced, OTHER_KEY):
            await place.signed(3 * LEAVES)

    play(settings, work)
