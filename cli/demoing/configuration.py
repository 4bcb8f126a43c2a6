"""The demo's settings: the user's own, but for what must lie in the demo's folder.

Given to child processes as environment, which wins over a file. Whatever servers and keys the user
has, the demo registers its models nowhere but in a registry of its own: `null` unsets what names them.
`tests/cli/demoing/test_configuration.py`.
"""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from chimera.cli.stack.ports import free_port
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import UNSET, Settings
from chimera.schemas.tiers import BY_NAME

ALL = "all"
QUICK = ("onnx-cpu", "torch-cpu")  # compiled in seconds
MEASURE_S = 0.1  # a tier, a batch size: enough to see which is faster


def tiers_of(text: str | None) -> tuple[str, ...]:
    """The tiers that `--tiers` names; none: all nine.

    Raises:
        ConfigurationError: one of them is none.
    """
    if text is None:
        return QUICK
    names = () if text == ALL else tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in BY_NAME]:
        raise ConfigurationError(
            f"--tiers: there is no tier {unknown[0]!r}, only {', '.join(BY_NAME)}"
        )
    return names


def overrides(folder: Path, *, is_embedded: bool, has_int8: bool) -> dict[str, str]:
    """What differs from the user's own settings; a Kafka of the user's own is used."""
    found = {
        "CHIMERA_STACK__DIR": str(folder),
        "CHIMERA_STACK__REGISTRY": "true",
        "CHIMERA_KAFKA__EMBEDDED_DIR": str(folder / "kafka"),
        "CHIMERA_POSTGRES__DSN": UNSET,
        "CHIMERA_POSTGRES__OWNER_DSN": UNSET,
        "CHIMERA_POSTGRES__EMBEDDED_DIR": str(folder / "postgres"),
        "CHIMERA_KEYS__SIGNING": UNSET,
        "CHIMERA_KEYS__SIGNING_FILE": str(folder / "keys" / "signing.pem"),
        "CHIMERA_KEYS__TRUSTED_DIR": str(folder / "keys" / "trusted"),
        "CHIMERA_ARTIFACTS__URL": str(folder / "artifacts"),
        "CHIMERA_ARTIFACTS__CACHE_DIR": str(folder / "cache"),
        "CHIMERA_COMPILING__MEASURE_S": str(MEASURE_S),
        "CHIMERA_COMPILING__INT8": json.dumps(has_int8),
        "CHIMERA_SERVING__FOLLOW": "true",
        "CHIMERA_OBSERVABILITY__METRICS_PORT": str(free_port()),
    }
    if not is_embedded:
        name = f"demo-{secrets.token_hex(4)}"
        found |= {"CHIMERA_KAFKA__TOPIC_PREFIX": f"{name}.", "CHIMERA_KAFKA__GROUP": name}
    return found


def applied(settings: Settings, overrides: Mapping[str, str]) -> Settings:
    """As a process with that environment reads them."""
    fields: dict[str, Any] = settings.model_dump()
    for name, value in overrides.items():
        section, field = name.removeprefix("CHIMERA_").lower().split("__")
        fields[section][field] = None if value == UNSET else value
    return Settings.model_validate(fields)


def toml(settings: Settings) -> str:
    """The settings as a file that `CHIMERA_CONFIG` may name; nothing that is secret."""
    sections = settings.model_dump(mode="json", exclude_defaults=True)
    lines: list[str] = []
    for section, fields in sections.items():
        held = getattr(settings, section)
        lines.append(f"[{section}]")
        lines += [
            f"{name} = {json.dumps(value)}"
            for name, value in fields.items()
            if value is not None and not isinstance(getattr(held, name), SecretStr)
        ]
    return "\n".join(lines) + "\n"
