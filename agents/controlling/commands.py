"""Does what a command says, in the registry; doing it again changes nothing.

    register   `registration`: signed by a trusted key, inspected here
    compile    `compilation`: a process of its own, then artifacts and rows
    deploy, promote, rollback, pause, resume: one event of the model's history, by its command's id

Whatever goes wrong is an answer, but for a database that is away: then nobody knows what was done,
and the command is done again. `tests/agents/controlling/test_controller.py`.
"""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

from typing import assert_never

import structlog
from aiokafka.errors import KafkaError

from chimera.agents.controlling import replies
from chimera.agents.controlling.compilation import Compilation, Tell
from chimera.agents.controlling.registration import Registration
from chimera.agents.controlling.replies import Reply
from chimera.schemas.deployments import fold
from chimera.schemas.errors import (
    ChimeraError,
    ConfigurationError,
    DeploymentRefused,
    ModelRefused,
    PostgresUnavailable,
    UnknownModel,
    VersionTaken,
)
from chimera.schemas.model_commands import (
    Command,
    CompileModel,
    DeployModel,
    PauseModel,
    PromoteModel,
    RegisterModel,
    ResumeModel,
    RollBackModel,
)
from chimera.schemas.model_events import Event
from chimera.schemas.settings import Settings
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.postgres import Database
from chimera.stores.registry.records import Tenant
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.tenants import Tenants
from chimera.topics.producers import ProducerError

log = structlog.get_logger(__name__)

REFUSALS = (UnknownModel, DeploymentRefused, VersionTaken, ModelRefused, ConfigurationError)


async def _keep_silent(_: Event) -> None:
    return


class Commands:
    """For one controller; `source` stands in the events."""

    def __init__(self, settings: Settings, database: Database, source: str) -> None:
        """Raises ConfigurationError: the store's URL, or a trusted key, is wrong."""
        self._database, self.source = database, source
        self.most_attempts = settings.controller.max_attempts
        artifacts = Artifacts(settings.artifacts.url, settings.artifacts.cache_dir)
        trusted, key = keys.trusted(settings.keys), keys.find_signing_key(settings.keys)
        self._registration = Registration(settings, artifacts, trusted)
        self._compilation = Compilation(settings, database, artifacts, trusted, key)

    async def do(self, command: Command, tell: Tell = _keep_silent) -> tuple[Event, ...]:
        """The events that tell of it, its answer last; `tell` gets those of its progress at once.

        Raises:
            PostgresUnavailable: whether it was done is not known; do it again.
            ProducerError, KafkaError: what was to be told could not be; the same.
        """
        reply = replies.reply_to(self.source, command)
        try:
            tenant = await Tenants(self._database).find(command.tenant)
            if tenant is None:
                return reply.end("refused", f"there is no tenant {command.tenant}")
            await self._do(command, tenant, reply, tell)
        except (PostgresUnavailable, ProducerError, KafkaError):
            raise
        except REFUSALS as error:
            return reply.end("refused", str(error))
        except ChimeraError as error:
            return reply.end("failed", str(error))
        except Exception as error:  # the boundary: one command must not stop all others
            log.exception("command_failed", command_id=command.command_id)
            return reply.end("failed", repr(error))
        return reply.end("done")

    async def _do(self, command: Command, tenant: Tenant, reply: Reply, tell: Tell) -> None:
        registry = Registry(self._database, tenant.id)
        match command:
            case RegisterModel():
                await self._registration.register(command, registry)
            case CompileModel():
                await self._compilation.compile(command, tenant, reply, tell)
            case DeployModel() | PromoteModel() | RollBackModel() | PauseModel() | ResumeModel():
                await _change(command, registry, reply)
            case _:
                assert_never(command)


async def _change(command: replies.Traffic, registry: Registry, reply: Reply) -> None:
    live = await registry.record_deployment(command.model, replies.change_of(command))
    reply.revision = live.sequence
    if isinstance(command, PromoteModel | RollBackModel) and live.serving is not None:
        reply.version = live.serving.version
    if isinstance(command, RollBackModel):
        history = await registry.history(command.model)
        before = fold(live.tenant, live.model, history[: live.sequence - 1])
        reply.told.append(
            replies.rolled_back(reply.common, before, live, command.reason, is_automatic=False)
        )
