"""All settings: environment and one optional TOML file in, one frozen `Settings` out.

A variable is `CHIMERA_<SECTION>__<FIELD>`, for example `CHIMERA_KAFKA__BOOTSTRAP`. The file is
`chimera.toml` in the working folder, or the one that `CHIMERA_CONFIG` names; the environment wins,
and `null` in it unsets what the file sets.
Nobody else reads the environment. Each field's description gives its unit and its reason, and
`docs/settings.md` is made of them. Children that only compute get an environment without secrets.
`tests/schemas/test_settings.py` holds it together.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import get_args

from pydantic import SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from chimera.schemas.audit_settings import AuditSettings, WitnessSettings
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.history_settings import ClickHouseSettings, JournalSettings
from chimera.schemas.ingest_settings import IngestSettings
from chimera.schemas.model_settings import (
    ArtifactsSettings,
    CompilingSettings,
    ControllerSettings,
    KeysSettings,
    TrainerSettings,
    TrainingSettings,
)
from chimera.schemas.server_settings import (
    KafkaSettings,
    ObservabilitySettings,
    PostgresSettings,
    StackSettings,
)
from chimera.schemas.serving_settings import (
    BatchingSettings,
    CommitSettings,
    DispatchSettings,
    FetchSettings,
    ServingSettings,
    ShadowsSettings,
)

LIBRARIES_SECRETS = ("PGPASSWORD", "PGPASSFILE")  # which the registry's driver reads by itself
UNSET = "null"  # in the environment: as if nobody had set it


class Settings(BaseSettings):
    """The whole configuration of a process, read once at its start."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="CHIMERA_",
        env_nested_delimiter="__",
        env_parse_none_str=UNSET,
    )

    kafka: KafkaSettings = KafkaSettings()
    postgres: PostgresSettings = PostgresSettings()
    serving: ServingSettings = ServingSettings()
    batching: BatchingSettings = BatchingSettings()
    dispatch: DispatchSettings = DispatchSettings()
    shadows: ShadowsSettings = ShadowsSettings()
    commit: CommitSettings = CommitSettings()
    fetch: FetchSettings = FetchSettings()
    journal: JournalSettings = JournalSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    compiling: CompilingSettings = CompilingSettings()
    training: TrainingSettings = TrainingSettings()
    ingest: IngestSettings = IngestSettings()
    trainer: TrainerSettings = TrainerSettings()
    controller: ControllerSettings = ControllerSettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    stack: StackSettings = StackSettings()
    keys: KeysSettings = KeysSettings()
    artifacts: ArtifactsSettings = ArtifactsSettings()
    audit: AuditSettings = AuditSettings()
    witness: WitnessSettings = WitnessSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = Path(os.environ.get("CHIMERA_CONFIG", "chimera.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)


def load() -> Settings:
    """Read environment and file.

    Raises:
        ConfigurationError: a value is wrong, a name is unknown, or the file is not TOML; names it.
    """
    for name in os.environ:
        section = name.removeprefix("CHIMERA_").split("__")[0].lower()
        if "__" in name and name.startswith("CHIMERA_") and section not in Settings.model_fields:
            raise ConfigurationError(f"{name}: there is no section {section!r}")
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        where = "__".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"CHIMERA_{where}: {first['msg']}") from None
    except SettingsError as error:
        raise ConfigurationError(f"{error}; a list is written as JSON") from error
    except (OSError, TOMLDecodeError) as error:
        raise ConfigurationError(f"the settings file cannot be read: {error}") from error


def inheritable(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for a child that computes or compiles, and speaks to no server.

    Whole sections that hold a secret are left out: their variables may also be JSON of all fields.
    What the kernel lets a process of the same user read by itself is not hidden by this: the key's
    file, the settings' file, its parent's own environment.
    """
    return {name: value for name, value in environment.items() if not _is_secret(name.upper())}


def secret_sections() -> tuple[str, ...]:
    """Sections with a field that is a secret."""
    found: list[str] = []
    for name, field in Settings.model_fields.items():
        fields = getattr(field.annotation, "model_fields", {}).values()
        types = [kind for one in fields for kind in (one.annotation, *get_args(one.annotation))]
        if SecretStr in types:
            found.append(name)
    return tuple(found)


def _is_secret(variable: str) -> bool:
    section = variable.removeprefix("CHIMERA_").split("__")[0].lower()
    is_ours = variable.startswith("CHIMERA_")
    return variable in LIBRARIES_SECRETS or (is_ours and section in secret_sections())
