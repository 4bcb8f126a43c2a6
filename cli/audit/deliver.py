"""`chimera audit deliver`: events of this machine that waited for a Kafka, sent now."""

import typer


def deliver(
    bootstrap: str | None = typer.Option(None, help="Kafka's host:port; wins over the setting."),
) -> None:
    """Send the events of this machine that wait, as those of keys made while Kafka was away."""
    from chimera.cli.recording import send
    from chimera.cli.refusals import told
    from chimera.schemas.settings import load

    with told("audit deliver"):
        settings = load()
        reason = send(settings, bootstrap)
    left = len(list(settings.audit.outbox.expanduser().glob("*.json")))
    typer.echo(f"{left} events wait in {settings.audit.outbox}")
    if left:
        typer.echo(f"chimera audit deliver: {reason or 'another command sends them'}", err=True)
        raise typer.Exit(1)
