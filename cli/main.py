"""`chimera`: one file a command. Command modules import only typer at the top, so help is fast."""

import typer

from chimera.cli import bench, db, demo, down, keys, node, settings, status, topics, up
from chimera.cli.asking import infer
from chimera.cli.audit import app as audit
from chimera.cli.audit import sequencer, witness
from chimera.cli.checkup import doctor
from chimera.cli.dlq import app as dlq
from chimera.cli.ingesting import ingest
from chimera.cli.models import app as models
from chimera.cli.offsets import app as offsets
from chimera.cli.training import app as train
from chimera.cli.training import trainer
from chimera.cli.warehousing import sql, warehouse
from chimera.cli.watching import watch

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Serve and train models over Kafka: one visible outcome per request, in order, provable.",
)

app.command()(demo.demo)
app.command()(up.up)
app.command()(infer.infer)
app.command()(watch.watch)
app.command()(doctor.doctor)
app.command()(node.node)
app.command()(warehouse.warehouse)
app.command()(trainer.trainer)
app.command()(sql.sql)
app.command()(ingest.ingest)
app.command()(status.status)
app.command()(down.down)
app.command()(settings.settings)
app.command()(sequencer.sequencer)
app.command()(witness.witness)
app.add_typer(offsets.app, name="offsets")
app.add_typer(dlq.app, name="dlq")
app.add_typer(keys.app, name="keys")
app.add_typer(topics.app, name="topics")
app.add_typer(models.app, name="models")
app.add_typer(audit.app, name="audit")
app.add_typer(train.app, name="train")
app.add_typer(db.app, name="db")
app.add_typer(bench.app, name="bench")


def main() -> None:
    app()
