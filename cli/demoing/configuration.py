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

from chimera.cli.demoing.children import NICE
from chimera.cli.stack.ports import free_port
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import UNSET, Settings
from chimera.schemas.tiers import BY_NAME

ALL = "all"
QUICK = ("onnx-cpu", "torch-cpu")  # compiled in seconds
MEASURE_S = 0.1  # a tier, a batch size: enough to see which is faster
DATA = "data"  # in the demo's folder: what runs learn from
WITNESS = "chimera.local/demo-witness"
SAMPLE = "digit.json"  # in that: one image, for `chimera infer`
# Somebody watches: what happens is told sooner than operators need it.
_SOON = {
    "CHIMERA_CONTROLLER__POLL_MS": "100",
    "CHIMERA_CONTROLLER__JUDGE_MS": "250",
    "CHIMERA_TRAINER__POLL_MS": "100",
    "CHIMERA_TRAINER__TELL_S": "0.1",
    "CHIMERA_CLICKHOUSE__BATCH_MS": "250",
}


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
    metrics = free_port()
    found = {
        **_SOON,
        **_kept_in(folder),
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
        "CHIMERA_OBSERVABILITY__METRICS_PORT": str(metrics),
        "CHIMERA_WITNESS__PORT": str(free_port(except_for=metrics)),
    }
    if not is_embedded:
        name = f"demo-{secrets.token_hex(4)}"
        found |= {"CHIMERA_KAFKA__TOPIC_PREFIX": f"{name}.", "CHIMERA_KAFKA__GROUP": name}
    return found


def _kept_in(folder: Path) -> dict[str, str]:
    """Of training, and of what keeps and shows what happened."""
    return {
        "CHIMERA_TRAINING__DIR": str(folder / "runs"),
        "CHIMERA_TRAINING__SOURCES": json.dumps([f"{(folder / DATA).as_uri()}/"]),
        "CHIMERA_TRAINER__DEVICES": json.dumps(["cpu"]),
        "CHIMERA_TRAINER__NICE": str(NICE),
        "CHIMERA_JOURNAL__ENABLED": "true",
        "CHIMERA_JOURNAL__KEYS_DIR": str(folder / "keys" / "tenants"),
        "CHIMERA_CLICKHOUSE__DSN": UNSET,
        "CHIMERA_CLICKHOUSE__DIR": str(folder / "clickhouse"),
        "CHIMERA_CLICKHOUSE__HTTP_HOST": "127.0.0.1",
        "CHIMERA_CLICKHOUSE__HTTP_PORT": "0",
        "CHIMERA_CLICKHOUSE__HTTP_PASSWORD": UNSET,
        "CHIMERA_AUDIT__KEY": UNSET,
        "CHIMERA_AUDIT__KEY_FILE": str(folder / "keys" / "audit.pem"),
        "CHIMERA_AUDIT__CHECKPOINTS_FILE": str(folder / "checkpoints.txt"),
        "CHIMERA_WITNESS__NAME": WITNESS,
        "CHIMERA_WITNESS__KEY": UNSET,
        "CHIMERA_WITNESS__KEY_FILE": str(folder / "keys" / "witness.pem"),
        "CHIMERA_WITNESS__DATABASE": str(folder / "witness.sqlite"),
        "CHIMERA_WITNESS__HOST": "127.0.0.1",
    }


def applied(settings: Settings, overrides: Mapping[str, str]) -> Settings:
    """As a process with that environment reads them."""
    fields: dict[str, Any] = settings.model_dump()
    for name, value in overrides.items():
        section, field = name.removeprefix("CHIMERA_").lower().split("__")
        is_list = value.startswith("[")
        fields[section][field] = None if value == UNSET else json.loads(value) if is_list else value
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
