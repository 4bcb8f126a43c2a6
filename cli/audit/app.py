"""`chimera audit`: what anybody can verify of the audit log, without asking whoever runs it."""

import typer

from chimera.cli.audit import check as audit_check
from chimera.cli.audit import verify as audit_verify

app = typer.Typer(
    no_args_is_help=True, help="Verify the audit log: an export of it, or one request's proof."
)

app.command()(audit_verify.verify)
app.command()(audit_check.check)
