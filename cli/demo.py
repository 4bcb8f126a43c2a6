"""`chimera demo`: everything once, on real servers, and every request accounted for.

    Kafka, Postgres start ── node, trainer, warehouse, sequencer, witness
    two triggers ── first run: trained ── registered ── compiled ── promoted by its policy ── burst ─┐
              └── second run: shifted data, drift alert ── registered                                │
    ┌────────────────────────────────────────────────────────────────────────────────────────────────┘
    ├ paced ────────────┐
    └ second compiled ──┴ promoted ── its watch takes it back ── node stops ── verdict
    every request a row and a leaf ── SQL over HTTP ── audit verify ── a copy altered, and found out

Runs are ordered on `training.triggers`, versions compiled and promoted by command, as for anybody.
Everything lives in one temporary folder, and every process is this one's child, or dies with one:
whichever way the demo ends, nothing stays. `--keep` hands the folder to `chimera up`. `tests/cli/demoing/test_demo.py`
runs it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chimera.schemas.settings import Settings

LEAST = 20  # requests: a few of every kind
INTERRUPTED = 130


def demo(
    requests: Annotated[
        int, typer.Option(min=LEAST, help="How many: digits over and over, bad ones among them.")
    ] = 10_000,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures there.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave servers and a node running at the end.")
    ] = False,
    tiers: Annotated[
        str | None,
        typer.Option(
            help="What to compile, for example onnx-cpu,torch-cpu, which is the default; all: of"
            " the first version what this machine can run."
        ),
    ] = None,
) -> None:
    """Order two runs; serve what comes of the first, good and bad requests, and account for every one;
    promote the second, which is worse, and see it taken back; ask in SQL; verify the audit log.

    Kafka and Postgres run in a temporary folder (Kafka's jars are downloaded once);
    CHIMERA_KAFKA__BOOTSTRAP uses a cluster of your own. Exit 0: nothing lost, duplicated or
    mismatched, 95 % of the digits right, drift told, the worse version rolled back by itself, the
    audit log verified, and what was altered in a copy of it named.
    """
    import logging

    from chimera.cli.demoing.configuration import tiers_of
    from chimera.cli.stack import interrupts
    from chimera.schemas.errors import ChimeraError, ConfigurationError
    from chimera.schemas.settings import load

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a new topic has no leader at first
    interrupts.raised(where_ignored=True)
    try:
        settings = load()
        if keep and settings.kafka.bootstrap is not None:
            raise ConfigurationError("--keep is for the demo's own Kafka, not for your cluster")
        good = _run(settings, requests, json_file, keep=keep, tiers=tiers_of(tiers))
    except ChimeraError as error:
        typer.echo(f"chimera demo: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("stopped; nothing is left behind", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not good:
        raise typer.Exit(1)


def _run(
    settings: "Settings",
    requests: int,
    json_file: Path | None,
    *,
    keep: bool,
    tiers: tuple[str, ...],
) -> bool:
    from chimera.cli.demoing.stack import DemoStack
    from chimera.cli.demoing.stages import Stages

    with Stages() as stages, DemoStack(settings, tiers, stages) as stack:
        stack.start()
        from chimera.cli.demoing import figures, places, running, table

        found = running.run(stack, stages, requests)
        if json_file is not None:
            json_file.write_text(figures.as_json(found), "utf-8")
        if keep:
            with stages.begin("handed to `chimera up`"):
                stack.hand_over()
        elif not found.is_good:
            stack.is_kept = True
        where = places.places(stack, is_up=keep)
    table.show(found, where)
    return found.is_good
