"""`chimera train manifest`: what a run says of itself, and who vouches for that.

The history's line, the run's `manifest.json` and its weights have to agree. `tests/cli/test_train.py`.
"""

from typing import Annotated

import typer


def manifest(
    run_id: Annotated[str, typer.Argument(help="Of the run.")],
    signed: Annotated[bool, typer.Option(help="Refuse one that nobody has signed.")] = False,
) -> None:
    """One run's manifest, as JSON; who signed it goes to standard error.

    Exit 1: a signature that is not right or not of a trusted key, or files that say otherwise.
    """
    from chimera.cli.refusals import told
    from chimera.schemas.settings import load
    from chimera.schemas.training_manifest import decode_manifest, verify
    from chimera.stores import keys
    from chimera.workers.training import recording

    with told("train"):
        settings = load()
        raw = recording.line(settings.training.dir, run_id)
        found = decode_manifest(raw)
        if found.signature or signed:
            key = verify(raw, keys.trusted(settings.keys), f"run {run_id}")
            recording.require_whole(settings.training.dir, raw)
            typer.echo(f"signed by {key.key_id}; manifest and weights are those", err=True)
        else:
            typer.echo("not signed: there was no key; `chimera keys init` makes one", err=True)
    typer.echo(raw)
