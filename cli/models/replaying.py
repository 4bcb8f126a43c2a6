"""A rehearsal that a person asks for: by the registry of the settings, which keeps the report.

`tests/cli/test_models_replay.py`.
"""

from chimera.agents.replaying.rehearsal import Asked, rehearse
from chimera.agents.replaying.replay import Progress
from chimera.cli.models.actor import actor
from chimera.cli.models.registry import opened
from chimera.schemas.replay_report import ReplayReport
from chimera.schemas.settings import Settings


async def replay(
    settings: Settings, bootstrap: str, asked: Asked, progress: Progress
) -> ReplayReport:
    """Run it, and write down what came of it. Raises as `rehearse`."""
    async with opened(settings.postgres) as registry:
        report = await rehearse(settings, bootstrap, registry, asked, progress)
        await registry.add_replay(report, actor=actor())
    return report
