"""`chimera audit`: what anybody can verify of the audit log, without asking whoever runs it."""

import typer

from chimera.cli.audit import check as audit_check
from chimera.cli.audit import deliver as audit_deliver
from chimera.cli.audit import export as audit_export
from chimera.cli.audit import prove as audit_prove
from chimera.cli.audit import verify as audit_verify

app = typer.Typer(no_args_is_help=True, help="Verify the audit log, export it, prove one request.")

app.command()(audit_verify.verify)
app.command()(audit_export.export)
app.command()(audit_prove.prove)
app.command()(audit_check.check)
app.command()(audit_deliver.deliver)
