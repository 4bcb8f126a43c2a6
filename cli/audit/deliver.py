"""`chimera audit deliver`: events of this machine that waited for a Kafka, sent now."""

import typer


def deliver(
    bootstrap: str | None = typer.Option(None, help="Kafka's host:port; wins over the setting."),
) -> None:
    """Send the events of this machine that wait, as those of keys made while Kafka was away.

    Exit 0: none waits any more; 1: some do, and why, and files that are damaged are named.
    """
    from chimera.cli.recording import send
    from chimera.cli.refusals import told
    from chimera.schemas.settings import load
    from chimera.stores.audit_outbox import AuditOutbox

    with told("audit deliver"):
        settings = load()
        reason = send(settings, bootstrap)
        damaged = AuditOutbox(settings.audit.outbox).damaged()
    left = len(list(settings.audit.outbox.expanduser().glob("*.json")))
    typer.echo(f"{left} events wait in {settings.audit.outbox}")
    for name, why in damaged.items():
        typer.echo(f"chimera audit deliver: {name} is damaged: {why}", err=True)
    if left > len(damaged):
        typer.echo(f"chimera audit deliver: {reason or 'another command sends them'}", err=True)
    if left:
        raise typer.Exit(1)
