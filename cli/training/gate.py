"""`chimera train gate`: a policy for CI, which takes a run, picks one, or refuses with every reason.

`tests/cli/test_train.py`.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.training.tenant import Tenant

if TYPE_CHECKING:
    from chimera.schemas.training_manifest import TrainingManifest
    from chimera.workers.training.gate import Policy

    Objections = Callable[[TrainingManifest], tuple[str, ...]]


def gate(
    run_id: Annotated[str | None, typer.Argument(help="Of the run; unset: pick the best.")] = None,
    metric: Annotated[str, typer.Option(help="What counts.")] = "eval_mse",
    largest: Annotated[bool, typer.Option("--max", help="Larger is better.")] = False,
    least: Annotated[float | None, typer.Option(help="The metric must reach this.")] = None,
    than: Annotated[str | None, typer.Option(help="Must not be worse than this run.")] = None,
    drift: Annotated[bool, typer.Option(help="Refuse a run whose data have drifted.")] = False,
    synthetic: Annotated[bool, typer.Option(help="Refuse synthetic data.")] = False,
    signed: Annotated[
        bool, typer.Option(help="Refuse what no trusted key has signed; --than's run as well.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Pick among runs of this model; unset: there is one.")
    ] = None,
    tenant: Tenant = "default",
) -> None:
    """Pick or refuse a run, for CI. Exit 1: refused, with every reason; 2: of which model?"""
    from chimera.cli.refusals import told
    from chimera.cli.training.finished import find, known, of_model
    from chimera.workers.training.gate import Policy, refusals

    with told("train"):
        vouched = _vouched(tenant) if signed else _any
        other = None if than is None else find(than, tenant)
        policy = Policy(metric, "max" if largest else "min", least, other, drift, synthetic)
        against = () if other is None else vouched(other)
        if run_id is None:
            candidates = of_model(known(tenant), name)
            others = [one for one in candidates if one.run_id != than]
            chosen = None if against else _picked(others, policy, vouched)
            none = () if chosen else (f"none of {len(candidates)} runs is taken",)
            reasons = (*against, *none)
        else:
            chosen = find(run_id, tenant)
            reasons = (*refusals(chosen, policy), *vouched(chosen), *against)
    for reason in reasons:
        typer.echo(f"{run_id or 'chimera train'}: {reason}", err=True)
    if reasons or chosen is None:
        raise typer.Exit(1)
    typer.echo(f"{chosen.run_id}: taken, {metric} {chosen.metrics[metric]:g}")


def _picked(
    candidates: "Iterable[TrainingManifest]", policy: "Policy", vouched: "Objections"
) -> "TrainingManifest | None":
    """The best one; only of that one, and of those that were better, are signature and files looked at."""
    from chimera.workers.training.gate import pick

    left = {one.run_id: one for one in candidates}
    while (found := pick(left.values(), policy)) is not None and vouched(found):
        del left[found.run_id]
    return found


def _vouched(tenant: str) -> "Objections":
    from functools import partial

    from chimera.cli.training import vouching
    from chimera.schemas.settings import load

    return partial(vouching.objections, load(), tenant)


def _any(_: "TrainingManifest") -> tuple[str, ...]:
    """Nobody has to vouch for it."""
    return ()
