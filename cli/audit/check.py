"""`chimera audit check`: the proof of one request, by itself and offline."""

from pathlib import Path
from typing import Annotated

import typer


def check(
    proof: Annotated[Path, typer.Argument(help="A .tlog-proof file.")],
    policy: Annotated[Path, typer.Option(help="Whom to believe (C2SP tlog-policy).")],
) -> None:
    """Verify that a leaf is in the log, and show what it says. Exit 1: it is not proved, and why."""
    from chimera.cli.refusals import told

    with told("audit check"):
        from chimera.schemas.transparency import policy_file, proof_file
        from chimera.schemas.transparency.cosignatures import moment
        from chimera.stores.audit_export import read_file

        raw = read_file(policy, policy_file.MAX_POLICY_BYTES)
        believed = policy_file.decode(raw, str(policy))
        read = proof_file.decode(read_file(proof, proof_file.MAX_PROOF_BYTES))
        opened = read.verify(believed)
    head = opened.checkpoint
    typer.echo(f"audit check: ok, leaf {read.index:,} of {head.size:,} in {head.origin}")
    typer.echo(f"  signed by key {opened.key.key_id.hex()}")
    for name, at_s in opened.cosigned_at_s.items():
        typer.echo(f"  cosigned by {name} at {moment(at_s)}")
    typer.echo(read.body.decode("utf-8", "backslashreplace"))
