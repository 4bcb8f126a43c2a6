"""`chimera train manifest`: what a run says of itself, and who vouches for that.

The history's line, the run's `manifest.json` and its weights have to agree; of a run that was trained
elsewhere the registry has the manifest. `tests/cli/test_train.py`, `test_train_ingested.py`.
"""

from typing import Annotated

import typer

from chimera.cli.training.tenant import Tenant

NOT_HERE = "as the registry has it; its weights are not on this machine, and were not looked at"


def manifest(
    run_id: Annotated[str, typer.Argument(help="Of the run.")],
    signed: Annotated[bool, typer.Option(help="Refuse one that nobody has signed.")] = False,
    tenant: Tenant = "default",
) -> None:
    """One run's manifest, as JSON; who signed it goes to standard error.

    Exit 1: a signature that is not right or not of a trusted key, or files that say otherwise.
    """
    from chimera.cli.refusals import told
    from chimera.schemas.settings import load
    from chimera.schemas.training_manifest import decode_manifest

    with told("train"):
        from chimera.cli.training import elsewhere, vouching

        raw, is_here = elsewhere.manifest(tenant, run_id)
        found = decode_manifest(raw)
        if found.signature or signed:
            key = vouching.signer(load(), tenant, raw, is_here)
            files = "manifest and weights are those" if is_here else NOT_HERE
            typer.echo(f"signed by {key.key_id}; {files}", err=True)
        else:
            typer.echo("not signed: there was no key; `chimera keys init` makes one", err=True)
    typer.echo(raw)
