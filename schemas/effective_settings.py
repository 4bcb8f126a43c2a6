"""Settings that are in force, as text by name: what of them changed since the last start, and their digest.

    kafka.partitions -> "4"        kafka.sasl_password -> "set": never the secret, nor a hash of it

What a URL says of its user is left out, too. The last ones of each role and host stand in
`settings.state`, which is compacted. `tests/schemas/test_effective_settings.py`.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, get_args

import msgspec
from pydantic import SecretStr

from chimera.schemas.model_names import Actor, Milliseconds, Name, Sha256
from chimera.schemas.section import Section
from chimera.schemas.settings import Settings
from chimera.schemas.transparency import canonical
from chimera.schemas.versioned import Form

STATE_VERSION = 1
SET = "set"
_USER = re.compile(r"(?<=://)[^/@\s\"]*@")  # of a URL: name, or name and password

Text = Annotated[str, msgspec.Meta(max_length=255)]


class SettingsInForce(msgspec.Struct, frozen=True, kw_only=True):
    """With which settings the last process of a role began on a host, if they were new then."""

    role: Name
    host: Text
    at_ms: Milliseconds
    actor: Actor
    digest: Sha256  # of the values, as canonical JSON
    values: dict[str, str]
    v: int = STATE_VERSION


_FORM = Form[SettingsInForce]("settings in force", SettingsInForce, STATE_VERSION)
encode_in_force = _FORM.encode
decode_in_force = _FORM.decode


def values_of(settings: Settings) -> dict[str, str]:
    """Every setting by its name in a file; empty: unset."""
    found: dict[str, str] = {}
    for section in Settings.model_fields:
        holder: Section = getattr(settings, section)
        for name, field in type(holder).model_fields.items():
            value = getattr(holder, name)
            is_secret = SecretStr in (field.annotation, *get_args(field.annotation))
            found[f"{section}.{name}"] = (SET if value else "") if is_secret else _text(value)
    return found


def digest_of(values: Mapping[str, str]) -> str:
    return hashlib.sha256(canonical.encode(values)).hexdigest()


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names whose values differ, those that are on one side alone included."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        value = msgspec.json.encode([str(one) for one in value]).decode()  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return _USER.sub("", str(value))
