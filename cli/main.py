"""`chimera`: one file a command. Command modules import only typer at the top, so help is fast."""

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Serve and train models over Kafka: one visible outcome per request, in order, provable.",
)


def main() -> None:
    app()
