"""Whether an order may be: what it names against the operator's lists, and all that is against it.

    model, transform    import paths of CHIMERA_TRAINING__ALLOWED
    data, reference     URLs below CHIMERA_TRAINING__SOURCES, or synthetic rows
    loss, metrics, optimizer, scheduler     by their names
    loop.threads        at most CHIMERA_TRAINER__THREADS
    numbers             such as the configuration's hash can be made of

Nothing is imported, and no data are read. `tests/agents/training/test_desk.py`.
"""

import asyncio
import hashlib
from collections.abc import Iterator

from chimera.schemas import urls
from chimera.schemas.definitions import require_allowed
from chimera.schemas.errors import (
    ArtifactDamaged,
    ArtifactMissing,
    ArtifactsUnavailable,
    ConfigurationError,
    ModelRefused,
    SchemaInvalid,
    TrainingRefused,
)
from chimera.schemas.settings import Settings
from chimera.schemas.training_config import TrainingConfig, hash_config, parse
from chimera.schemas.training_triggers import ConfigReference, ServedRows, SetPolicy, TrainModel
from chimera.stores.sources import opened
from chimera.workers.training import names

ALLOWED, SOURCES = "CHIMERA_TRAINING__ALLOWED", "CHIMERA_TRAINING__SOURCES"
THREADS = "CHIMERA_TRAINER__THREADS"
MAX_CONFIG_BYTES = 1 << 20
READ_WITHIN_S = 30.0
SYNTHETIC = "synthetic:"


class Orders:
    """By the settings of one agent."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError: a prefix is none."""
        training, self._threads = settings.training, settings.trainer.threads
        self._allowed = training.allowed
        self._prefixes = [urls.folder(prefix, SOURCES) for prefix in training.sources]

    async def config_of(self, trigger: TrainModel | SetPolicy) -> TrainingConfig:
        """The configuration that is meant.

        Raises:
            TrainingRefused: it may not be read, is not there, or is another one.
        """
        if trigger.config is not None:
            return trigger.config
        assert trigger.reference is not None  # one of the two
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                return await asyncio.to_thread(self._read, trigger.reference)
        except TimeoutError:
            raise TrainingRefused(f"{trigger.reference.url}: not read in time") from None

    def against(self, config: TrainingConfig) -> list[str]:
        """Every reason why it may not be."""
        return [
            *self._paths(config),
            *self._urls(config),
            *names.against(config),
            *self._numbers(config),
            *self._limits(config),
        ]

    def against_served(self, served: ServedRows | None) -> list[str]:
        """Every reason why these may not be looked at."""
        return [] if served is None else self._refusals("served.url", served.url, served.url)

    def _paths(self, config: TrainingConfig) -> Iterator[str]:
        named = {
            "model.definition": config.model.definition,
            "data.schema.transform": config.data.schema.transform,
        }
        for field, path in named.items():
            if path is None:
                continue
            try:
                require_allowed(path, self._allowed, ALLOWED)
            except (ModelRefused, ConfigurationError) as error:
                yield f"{field}: {error}"

    def _urls(self, config: TrainingConfig) -> Iterator[str]:
        for source in config.data.sources:
            if source.startswith(SYNTHETIC):
                continue
            plain = source.replace("*", "x")  # a star leads nowhere but further down
            yield from self._refusals("data.sources", source, plain)

    def _numbers(self, config: TrainingConfig) -> Iterator[str]:
        try:
            hash_config(config)
        except ConfigurationError as error:
            yield str(error)

    def _limits(self, config: TrainingConfig) -> Iterator[str]:
        wanted = config.loop.threads or 0
        if wanted > self._threads:
            yield f"loop.threads {wanted}: at most {self._threads} ({THREADS})"

    def _refusals(self, field: str, source: str, plain: str) -> list[str]:
        """Why a source may not be read, and what would let it."""
        try:
            urls.require_under(plain, self._prefixes, f"{field} {source[:200]!r}")
        except SchemaInvalid as error:
            return [f"{error}: {_remedy(source)}"]
        return []

    def _read(self, reference: ConfigReference) -> TrainingConfig:
        url = reference.url
        try:
            urls.require_under(url, self._prefixes, f"reference {url[:200]!r}")
            with opened(url, self._prefixes, SOURCES) as file:
                raw = file.read(MAX_CONFIG_BYTES + 1)
            if len(raw) > MAX_CONFIG_BYTES:
                raise TrainingRefused(f"{url}: more than {MAX_CONFIG_BYTES:,} bytes")
            if hashlib.sha256(raw).hexdigest() != reference.sha256:
                raise ArtifactDamaged(f"{url}: is not {reference.sha256}")
            return parse(raw.decode(), url)
        except UnicodeDecodeError as error:
            raise TrainingRefused(f"{url}: {error}") from None
        except SchemaInvalid as error:
            raise TrainingRefused(f"{error}: {_remedy(url)}") from None
        except (
            ArtifactDamaged,
            ArtifactMissing,
            ArtifactsUnavailable,
            ConfigurationError,
            ModelRefused,
        ) as error:
            raise TrainingRefused(str(error)) from None


def _remedy(source: str) -> str:
    """What to write where: the folder that it lies in, if that makes a prefix; else what a URL is."""
    folder = source.split("*")[0].rpartition("/")[0] + "/"
    try:
        urls.require_under(source.replace("*", "x"), [urls.folder(folder, SOURCES)], "")
    except (SchemaInvalid, ConfigurationError):
        return f"a URL is as file:///data/rows.csv, and begins with a prefix of {SOURCES}"
    return f"""{SOURCES}='["{folder}"]' would allow it"""
