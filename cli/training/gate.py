"""`chimera train gate`: a policy for CI, which takes a run, picks one, or refuses with every reason.

`tests/cli/test_train.py`.
"""

from typing import Annotated

import typer


def gate(
    run_id: Annotated[str | None, typer.Argument(help="Of the run; unset: pick the best.")] = None,
    metric: Annotated[str, typer.Option(help="What counts.")] = "eval_mse",
    largest: Annotated[bool, typer.Option("--max", help="Larger is better.")] = False,
    least: Annotated[float | None, typer.Option(help="The metric must reach this.")] = None,
    than: Annotated[str | None, typer.Option(help="Must not be worse than this run.")] = None,
    drift: Annotated[bool, typer.Option(help="Refuse a run whose data have drifted.")] = False,
    synthetic: Annotated[bool, typer.Option(help="Refuse synthetic data.")] = False,
    name: Annotated[
        str | None, typer.Option(help="Pick among runs of this model; unset: there is one.")
    ] = None,
) -> None:
    """Pick or refuse a run, for CI. Exit 1: refused, with every reason; 2: of which model?"""
    from chimera.cli.training.finished import find, known, of_model
    from chimera.workers.training.gate import Policy, pick, refusals

    other = None if than is None else find(than)
    policy = Policy(metric, "max" if largest else "min", least, other, drift, synthetic)
    if run_id is None:
        candidates = of_model(known(), name)
        chosen = pick([one for one in candidates if one.run_id != than], policy)
        reasons: tuple[str, ...] = () if chosen else (f"none of {len(candidates)} runs is taken",)
    else:
        chosen = find(run_id)
        reasons = refusals(chosen, policy)
    for reason in reasons:
        typer.echo(f"{run_id or 'chimera train'}: {reason}", err=True)
    if reasons or chosen is None:
        raise typer.Exit(1)
    typer.echo(f"{chosen.run_id}: taken, {metric} {chosen.metrics[metric]:g}")
