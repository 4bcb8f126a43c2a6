"""A compile command as a person gives it: what is heard while it is done, and the report at its end.

Nothing is compiled here: a controller does it, signs and stores what comes out, and names the
report, which is read from the store of artifacts. `tests/cli/test_compile_command.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from chimera.cli.models.commanding import give
from chimera.schemas.compile_report import CompileReport, Step, decode
from chimera.schemas.model_commands import CompileModel
from chimera.schemas.model_events import CommandAnswered, CompileStepped, Event, ModelCompiled
from chimera.schemas.settings import Settings
from chimera.stores.artifacts import Artifacts


@dataclass
class Heard:
    """Of one compile."""

    tell: Callable[[Step], None]
    compiled: ModelCompiled | None = None

    def hear(self, event: Event) -> None:
        if isinstance(event, CompileStepped):
            self.tell(Step(event.tier, event.stage, event.detail))
        elif isinstance(event, ModelCompiled):
            self.compiled = event


async def compile_registered(
    settings: Settings,
    bootstrap: str,
    command: CompileModel,
    timeout_s: float,
    tell: Callable[[Step], None],
) -> tuple[CommandAnswered | None, CompileReport | None]:
    """Give the command and wait; the answer, and the report if there is one.

    Raises:
        KafkaUnavailable: as `give`. ArtifactMissing, ArtifactDamaged, ArtifactsUnavailable: there is
            a report, and the store of the settings does not have it.
    """
    heard = Heard(tell)
    answer = await give(settings, bootstrap, command, timeout_s, heard.hear)
    if heard.compiled is None:
        return answer, None
    digest = heard.compiled.report_sha256
    store = Artifacts(settings.artifacts.url, settings.artifacts.cache_dir)
    return answer, decode(store.get(digest).read_bytes(), f"report {digest}")
