"""A trigger for a training agent, made of a command's options; refused or unanswered, the command ends.

`tests/cli/test_train_agent.py`.
"""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from chimera.schemas.training_events import TriggerAnswered

NO_ANSWER = 2


def ask(
    kind: str, fields: dict[str, Any], timeout_s: float, tenant: str, bootstrap: str | None
) -> "TriggerAnswered":
    """The answer of an agent that accepts it. Exit 1: refused, 2: no answer in time."""
    import asyncio
    import uuid

    from chimera.cli import refusals

    with refusals.told("train"):
        from chimera.cli.models.actor import actor
        from chimera.cli.progress import waiting
        from chimera.cli.stack.stack import find_bootstrap
        from chimera.cli.training.triggering import give
        from chimera.schemas import training_triggers
        from chimera.schemas.settings import load

        trigger = getattr(training_triggers, kind)(
            trigger_id=uuid.uuid4().hex, tenant=tenant, actor=actor(), **fields
        )
        settings = load()
        where = bootstrap or find_bootstrap(settings)
        with waiting("waiting for the answer"):
            answer = asyncio.run(give(settings, where, trigger, timeout_s))
    if answer is None:
        typer.echo(
            f"chimera train: no answer to {trigger.trigger_id} within {timeout_s:g} s; it is done "
            "when a training agent runs: `chimera trainer`",
            err=True,
        )
        raise typer.Exit(NO_ANSWER)
    for reason in answer.reasons:
        typer.echo(f"chimera train: refused: {reason}", err=True)
    if answer.outcome != "accepted":
        raise typer.Exit(1)
    return answer
