"""`chimera audit prove`: that a request's leaf is in the log, as a file that says it by itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chimera.schemas.transparency.log_records import Indexed
    from chimera.schemas.transparency.proof_file import Proof
    from chimera.schemas.transparency.source import LeafSource


def prove(
    request_id: Annotated[str, typer.Argument(help="The caller's name, or <topic>:<p>:<offset>.")],
    to: Annotated[
        Path, typer.Option(help="Where the .tlog-proof is written; one for each leaf of that name.")
    ] = Path(),
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
) -> None:
    """Find a request in Kafka's audit.log, and prove each of its leaves. Exit 1: there is none."""
    from chimera.cli.audit import sources
    from chimera.cli.progress import waiting
    from chimera.cli.refusals import told

    with told("audit prove"):
        from chimera.schemas.errors import EvidenceMalformed
        from chimera.schemas.settings import load
        from chimera.schemas.transparency.proof_file import SUFFIX

        with sources.kafka(load(), bootstrap) as log, waiting("the log is gone over"):
            found, notes = log.find(request_id), log.checkpoints()
            if not found:
                raise EvidenceMalformed(f"no leaf has the request id {request_id!r}")
            for leaf in found:
                path = to / f"leaf-{leaf.log_index}{SUFFIX}"
                path.write_bytes(proof_of(log, leaf, notes).encode())
                typer.echo(path)


def proof_of(log: "LeafSource", leaf: "Indexed", notes: "Sequence[bytes]") -> "Proof":
    """By the first checkpoint that covers it, of those that most witnesses cosigned.

    Raises:
        EvidenceMalformed: none covers it yet, or the log has fewer leaves than that one.
    """
    from chimera.schemas.errors import EvidenceMalformed
    from chimera.schemas.transparency.notes import decode
    from chimera.schemas.transparency.proof_file import Proof
    from chimera.schemas.transparency.proving import prove_leaf
    from chimera.stores.checkpoint_file import head_of

    index = leaf.log_index
    covering = [note for note in notes if head_of(note).size > index]
    if not covering:
        raise EvidenceMalformed(f"leaf {index}: no checkpoint covers it yet; try again soon")
    best = max(covering, key=lambda note: (len(decode(note).signatures), -head_of(note).size))
    size = head_of(best).size
    bodies = (one.body for one in log.leaves(0, size))
    body, hashes = prove_leaf(bodies, index, size)
    return Proof(body, index, tuple(hashes), best)
