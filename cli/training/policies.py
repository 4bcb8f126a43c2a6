"""`chimera train policies`: orders that come due by the clock or on drift; listed, shown, removed.

They are set by `chimera train submit --every 6h` or `--on drift`. `tests/cli/test_train_agent.py`.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.training.tenant import Tenant

if TYPE_CHECKING:
    from chimera.schemas.training_triggers import ServedRows
    from chimera.stores.registry.training_policies import TrainingPolicy

app = typer.Typer(help="Runs that are ordered by the clock, or when data have drifted.")

PolicyName = Annotated[str, typer.Argument(help="Of the policy.")]


@app.callback(invoke_without_command=True)
def policies(context: typer.Context, tenant: Tenant = "default") -> None:
    """List them; or show one, or remove it."""
    if context.invoked_subcommand is not None:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    found = _all(tenant)
    names = Column("policy", min_width=max((len(one.name) for one in found), default=0))
    table = Table(names, "orders a run", "due", "fired", "by", box=box.SIMPLE_HEAD)
    for one in found:  # people copy names: those are whole
        table.add_row(one.name, rule(one), _due(one), str(one.firings), one.actor)
    Console().print(table)


@app.command()
def show(name: PolicyName, tenant: Tenant = "default") -> None:
    """One of them: what it orders, when, and what it has ordered last."""
    found = next((one for one in _all(tenant) if one.name == name), None)
    if found is None:
        typer.echo(f"chimera train: there is no policy {name}", err=True)
        raise typer.Exit(1)
    for line in lines(found, tenant):
        typer.echo(line)


@app.command()
def remove(
    name: PolicyName,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the answer.")] = 10.0,
    tenant: Tenant = "default",
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
) -> None:
    """It orders no more; runs that it has ordered go on. Exits as `submit`."""
    from chimera.cli.training.asking import ask

    ask("RemovePolicy", {"policy": name}, timeout, tenant, bootstrap)
    typer.echo(f"policy {name} is removed")


def rule(policy: "TrainingPolicy") -> str:
    """When it fires, in a few words."""
    every = span(policy.interval_s)
    return f"every {every}" if policy.cause == "schedule" else f"on drift, once in {every} at most"


def watched(served: "ServedRows | None") -> str:
    """What is looked at beside the model's runs; empty: nothing."""
    if served is None:
        return ""
    every = span(served.since_s)
    return f"  looks each {every} at what was served in {every}: {served.url}"


def span(seconds: int) -> str:
    """As `--every` takes it: in the largest unit that leaves no rest."""
    units = (("d", 86_400), ("h", 3_600), ("m", 60))
    unit, size = next((one for one in units if not seconds % one[1]), ("s", 1))
    return f"{seconds // size}{unit}"


def lines(policy: "TrainingPolicy", tenant: str) -> list[str]:
    """All of one."""
    from chimera.schemas.training_triggers import decode_trigger, run_id_of

    order = decode_trigger(policy.trigger.encode())
    promotes = ", promotes" if getattr(order, "promote", False) else ""
    found = [
        f"policy {policy.name} orders runs of {policy.model} {rule(policy)}",
        f"  set {policy.set_at:%Y-%m-%d %H:%M:%S %Z} by {policy.actor}, trigger {policy.trigger_id}",
        *filter(None, [watched(getattr(order, "served", None))]),
        f"  priority {getattr(order, 'priority', 0) or 'as usual'}{promotes}",
        f"  due {_due(policy)}; fired {policy.firings} times",
    ]
    if policy.last_trigger_id and policy.fired_at:
        run_id = run_id_of(tenant, policy.last_trigger_id, policy.model)
        found.append(f"  last {policy.fired_at:%Y-%m-%d %H:%M:%S %Z}: run {run_id}")
    return found


def _due(policy: "TrainingPolicy") -> str:
    from chimera.stores.registry.training_policies import SERVED

    if policy.due_at is None:
        return "on drift"
    why = f", for run {policy.alert}" if policy.alert else ""
    if policy.alert and policy.alert.startswith(SERVED):
        why = f", for what is served since run {policy.alert.removeprefix(SERVED)}"
    return f"{policy.due_at:%Y-%m-%d %H:%M:%S %Z}{why}"


def _all(tenant: str) -> "list[TrainingPolicy]":
    import asyncio

    from chimera.cli.refusals import told

    async def asked() -> "list[TrainingPolicy]":
        from chimera.cli.models.registry import opened
        from chimera.schemas.settings import load

        async with opened(load().postgres, tenant) as registry:
            return await registry.training_policies()

    with told("train"):
        return asyncio.run(asked())
