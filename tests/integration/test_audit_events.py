"""Whatever is done to what serves, by its own command, is a leaf with its actor; and the log verifies."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from chimera.agents import audit_events, starting
from chimera.agents.lanes.commit_loop import Halted
from chimera.agents.lanes.halts import Halts
from chimera.agents.training.policies import Policies
from chimera.agents.training.telling import Telling
from chimera.cli.main import app
from chimera.cli.models.actor import actor
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.control_actions import ACTIONS
from chimera.schemas.model_commands import PauseModel
from chimera.schemas.settings import load
from chimera.schemas.training_triggers import RemovePolicy, SetPolicy
from chimera.schemas.transparency.leaves import ActionTaken, decode_leaf
from chimera.stores.keys import find_key
from chimera.topics.catalogue import catalogue
from tests.agents.controlling.stage import staged, steered
from tests.agents.sequencing.places import Place, sequencing
from tests.cli.letters import letter, write
from tests.schemas.transparency.logs import ORIGIN
from tests.stores.places import Place as Registered
from tests.stores.places import register
from tests.workers.training.places import config

WITHIN_S = 30.0
BRIEF = {"CHECKPOINT_MS": "50", "POLL_MS": "20", "ORIGIN": ORIGIN}


def chimera(*arguments: str) -> Result:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done


async def train_nightly(place: Registered) -> None:
    """A training policy is set, twice by the same trigger, and removed."""
    policies = Policies(place.database, Telling("test"), 1.0)
    asked: dict[str, Any] = {"tenant": place.tenant.name, "actor": "eve", "policy": "nightly"}
    order = SetPolicy(
        trigger_id=uuid4().hex, config=config(), cause="schedule", interval_s=3_600, **asked
    )
    for _ in range(2):
        await policies.put(order, place.tenant, config())
    await policies.remove(RemovePolicy(trigger_id=uuid4().hex, **asked), place.tenant)


async def actions(place: Place) -> list[ActionTaken]:
    """Of the leaves that are visible."""
    found = [decode_leaf(one.body) for one in await place.leaves()]
    return [one for one in found if isinstance(one, ActionTaken)]


async def sequenced(place: Place, wanted: set[str]) -> list[ActionTaken]:
    """Once each of these actions has a leaf, and all are signed."""
    key = find_key(place.settings.audit.key_file, None, "")
    assert key is not None
    async with sequencing(place.settings, key), asyncio.timeout(WITHIN_S):
        while not wanted <= {one.action for one in await actions(place)}:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.05)
        leaves = await actions(place)
        await place.signed(len(leaves))
    return leaves


def test_each_kind_of_action_becomes_a_leaf_with_its_actor(
    server: EmbeddedPostgres,
    kafka: str,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    kafka_is = {"BOOTSTRAP": kafka, "TOPIC_PREFIX": prefix, "GROUP": prefix, "PARTITIONS": "1"}
    for section, values in (("KAFKA", kafka_is), ("AUDIT", BRIEF)):
        for name, value in values.items():
            monkeypatch.setenv(f"CHIMERA_{section}__{name}", value)
    settings = load()

    async def control() -> str:
        """What a controller tells; the tenant, whose events no other test's are."""
        async with staged(server, kafka, prefix, tmp_path) as stage:
            await register(stage.place.registry)
            await stage.place.registry.put_policy("canary", {"share": 0.1}, actor="bob@host")
            await train_nightly(stage.place)
            async with steered(stage):
                await stage.send(stage.command(PauseModel))
                await stage.answers(1)
            await starting.begin(settings, kafka, "node", actor())
            await Halts(settings, kafka).tell("inference.requests", 0, Halted("it was cut"))
            return stage.tenant

    tenant = asyncio.run(control())
    topics = catalogue(settings)
    write(settings, [letter(topics, 0)])
    for arguments in (
        ("keys", "init"),
        ("keys", "tenant", "acme"),
        ("keys", "destroy", "acme", "--yes"),
        ("sequencer", "--make-key"),
        ("dlq", "replay", "--yes"),
        ("offsets", "set", topics.requests.name, "0", "1", "--yes"),
    ):
        chimera(*arguments)
    place = Place(settings, topics)
    leaves = asyncio.run(sequenced(place, {*ACTIONS, "models.pause"}))
    ours = [one for one in leaves if one.tenant in (tenant, "default", "acme")]
    others = {
        ("versions.register", "test"),
        ("policies.put", "bob@host"),
        ("policies.put", "eve"),
        ("policies.remove", "eve"),
        ("models.pause", "ada"),
        ("lanes.halt", f"node@{socket.gethostname()}"),
    }
    by_us = {*ACTIONS} - {action for action, _ in others}
    assert {(one.action, one.actor) for one in ours} == others | {(one, actor()) for one in by_us}
    of_eve = [one for one in ours if one.actor == "eve"]
    assert {one.object for one in of_eve} == {"training/nightly"}
    (put,) = [json.loads(one.details["body"]) for one in of_eve if one.action == "policies.put"]
    assert (put["model"], put["cause"], put["interval_s"]) == ("line", "schedule", 3_600)
    verified = chimera("audit", "verify")
    assert verified.stdout.startswith("audit verify: ok, ")
    assert int(verified.stdout.split()[3]) >= len(leaves)


def test_record_keeps_what_no_broker_takes(
    kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a part of Chimera that decides something by itself would tell it."""
    from chimera.schemas.control_actions import policy_put
    from chimera.schemas.errors import KafkaUnavailable
    from tests.cli import letters
    from tests.cli.places import make_topics

    monkeypatch.chdir(tmp_path)
    settings = letters.settings_of(kafka, prefix)
    event = policy_put(audit_events.act("ada@host"), "drift.digits", {"threshold": 0.2})
    with pytest.raises(KafkaUnavailable):
        asyncio.run(audit_events.record(settings, "127.0.0.1:1", event))
    make_topics(kafka, prefix, partitions=2)
    assert asyncio.run(audit_events.deliver(settings, kafka)) == 1
    assert letters.actions(settings) == [event]
