"""`chimera train prune`: the data of finished runs, which are read no more, are given up.

Of agents' runs it is what was left: their data go once their versions are packed. `tests/cli/test_train.py`.
"""

from typing import Annotated

import typer

from chimera.cli.training.tenant import AnyTenant


def prune(
    older: Annotated[str, typer.Option(help="Runs that ended so long ago, at least.")] = "7d",
    tenant: AnyTenant = None,
) -> None:
    """Remove finished runs' prepared data; weights, checkpoints, metrics, statistics and what was refused stay."""
    import time

    from chimera.cli.models.moments import seconds
    from chimera.schemas.settings import load
    from chimera.workers.training import history
    from chimera.workers.training.folder import OTHER_TENANTS, runs_of
    from chimera.workers.training.pruning import forget_data

    before_s, folder = time.time() - seconds(older), load().training.dir.expanduser()
    everybodys = (folder, *(folder / OTHER_TENANTS).glob("*"))
    freed: dict[str, int] = {}
    for runs in everybodys if tenant is None else (runs_of(folder, tenant),):
        for one in history.read(runs):
            if one.started_ms / 1_000 + one.duration_s <= before_s:
                freed[one.run_id] = forget_data(runs / one.run_id)
    for run_id, size_bytes in freed.items():
        if size_bytes:
            typer.echo(f"{run_id:32} {size_bytes / 1e6:,.1f} MB")
    typer.echo(f"{sum(freed.values()) / 1e6:,.1f} MB of {len(freed)} finished runs")
