"""What is done to what serves, beside models' commands: one function a kind, for `audit.events`.

    keys.create            a private key was made, or the key with which a tenant's rows commit
    keys.destroy           a tenant's: what it had committed to says nothing any more
    versions.register      a model's version became known, by whatever way
    policies.put           a policy of the registry was written, over the one before
    dead_letters.replay    a dead letter went back to the topic that it came from, as a new request
    settings.change        a process began with other settings than the last one of its role
    lanes.halt             a lane stopped: it has lost requests, or where it was
    offsets.set            somebody told a lane where to go on, and what is passed over by that

Each is an `ActionTaken`, a leaf as it is. No secret stands in it, and no hash of one.
`tests/schemas/test_control_actions.py` compares the bytes with the golden file.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.transparency import canonical
from chimera.schemas.transparency.leaves import ActionTaken

KEY_CREATED = "keys.create"
KEY_DESTROYED = "keys.destroy"
VERSION_REGISTERED = "versions.register"
POLICY_PUT = "policies.put"
REPLAYED = "dead_letters.replay"
SETTINGS_CHANGED = "settings.change"
LANE_HALTED = "lanes.halt"
OFFSETS_SET = "offsets.set"
OF_THE_REGISTRY = (VERSION_REGISTERED, POLICY_PUT)
OF_LANES = (LANE_HALTED, OFFSETS_SET)
ACTIONS = (KEY_CREATED, KEY_DESTROYED, *OF_THE_REGISTRY, REPLAYED, SETTINGS_CHANGED, *OF_LANES)

MAX_TEXT = 1_024  # characters of a leaf's text
MAX_LINES = 16  # of names that changed; more are counted

KeyUse = Literal["models", "log", "witness", "commitments"]
"""What a key is for: signs models, signs checkpoints, cosigns those of others, commits to requests."""


class Act(NamedTuple):
    """Who does something, when (ms since the epoch), and the id by which the event is known."""

    actor: str
    at_ms: int
    event_id: str
    reason: str = ""
    tenant: str = DEFAULT_TENANT


class Lane(NamedTuple):
    """An input partition, as one group reads it."""

    group: str
    topic: str
    partition: int

    @property
    def name(self) -> str:
        return f"{self.topic}:{self.partition}"


def key_created(act: Act, use: KeyUse, name: str, file: str) -> ActionTaken:
    """`name`: of its public half; of a tenant's key, which has none, the tenant's."""
    return _action(act, KEY_CREATED, name, {"use": use, "file": file})


def key_destroyed(act: Act, use: KeyUse, name: str, file: str) -> ActionTaken:
    return _action(act, KEY_DESTROYED, name, {"use": use, "file": file})


def version_registered(act: Act, name: str, digest: str) -> ActionTaken:
    """`name`: of the model and the version; `digest`: of its manifest's bytes."""
    return _action(act, VERSION_REGISTERED, name, {"digest": digest})


def policy_put(act: Act, name: str, body: Mapping[str, Any]) -> ActionTaken:
    """With the policy itself, as far as it fits, and the SHA-256 of its canonical JSON.

    Raises:
        SchemaInvalid: the body has no canonical JSON.
    """
    raw = canonical.encode(body)
    digest = hashlib.sha256(raw).hexdigest()
    return _action(act, POLICY_PUT, name, {"body": raw.decode(), "sha256": digest})


def replayed(act: Act, letter: str, request: str, code: str, generation: int) -> ActionTaken:
    """Both as <topic>:<partition>:<offset>; `code`: of the error that had made it a dead letter."""
    told = {"request": request, "code": code, "generation": str(generation)}
    return _action(act, REPLAYED, letter, told)


def settings_changed(
    act: Act, process: str, names: Iterable[str], digest: str, before: str
) -> ActionTaken:
    """`process`: <role>@<host>; the digests are of `effective_settings`, `before` empty for the first."""
    changed = sorted(names)
    lines = {f"names.{number}": line for number, line in enumerate(_lines(changed), 1)}
    told = {"changed": str(len(changed)), "digest": digest, "before": before}
    return _action(act, SETTINGS_CHANGED, process, told | lines)


def lane_halted(act: Act, lane: Lane, missing: range) -> ActionTaken:
    """`missing`: offsets of requests that are gone unanswered, as far as they are known."""
    return _action(
        act, LANE_HALTED, lane.name, {"group": lane.group} | _offsets("missing", missing)
    )


def offsets_set(
    act: Act, lane: Lane, before: int | None, offset: int, passed_over: range, again: range
) -> ActionTaken:
    """`before`: None, there was none. `passed_over`: nobody answers them; `again`: they have outcomes."""
    told = {"group": lane.group, "from": "" if before is None else str(before), "to": str(offset)}
    told |= _offsets("passed_over", passed_over) | _offsets("again", again)
    return _action(act, OFFSETS_SET, lane.name, told)


def _offsets(name: str, offsets: range) -> dict[str, str]:
    """The first and one past the last; nothing of none."""
    first, end = str(offsets.start), str(offsets.stop)
    return {f"{name}.first": first, f"{name}.end": end} if offsets else {}


def _lines(names: Iterable[str]) -> list[str]:
    """Names in as few texts as they fit into."""
    found: list[str] = []
    for name in names:
        if found and len(found[-1]) + len(name) < MAX_TEXT:
            found[-1] += f" {name}"
        else:
            found.append(name)
    return found[:MAX_LINES]


def _action(act: Act, action: str, name: str, details: Mapping[str, str]) -> ActionTaken:
    return ActionTaken(
        at_ms=act.at_ms,
        tenant=act.tenant,
        event_id=act.event_id,
        actor=act.actor,
        action=action,
        object=name[:MAX_TEXT],
        reason=act.reason,
        details={key: text[:MAX_TEXT] for key, text in details.items()},
    )
