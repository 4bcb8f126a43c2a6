"""`chimera audit prove`: that a request's leaf is in the log, as a file that says it by itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.audit.sources import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chimera.schemas.settings import Settings
    from chimera.schemas.transparency.policy import Policy
    from chimera.schemas.transparency.proof_file import Proof


def prove(
    request_id: Annotated[str, typer.Argument(help="The caller's name, or <topic>:<p>:<offset>.")],
    to: Annotated[
        Path, typer.Option(help="Where the .tlog-proof is written; one for each leaf of that name.")
    ] = Path(),
    policy: Annotated[
        Path | None,
        typer.Option(help="Whom to believe (C2SP tlog-policy); else the log's own key."),
    ] = None,
    source: Annotated[
        Source | None,
        typer.Option(help="Else a warehouse that answers, then Kafka's log, which is gone over."),
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
) -> None:
    """Find a request in the audit log, and prove each of its leaves. Exit 1: there is no proof.

    It is verified before it is written. A row that is not what was signed is named.
    """
    from chimera.cli.audit import sources
    from chimera.cli.refusals import told

    with told("audit prove"):
        from chimera.schemas.errors import EvidenceMalformed
        from chimera.schemas.settings import load
        from chimera.schemas.transparency.proof_file import SUFFIX

        settings = load()
        believed = sources.believed(settings, policy)
        proofs = _proofs(settings, bootstrap, source, (request_id, believed))
        if not proofs:
            raise EvidenceMalformed(f"no leaf has the request id {request_id!r}")
        for proof in proofs:
            path = to / f"leaf-{proof.index}{SUFFIX}"
            path.write_bytes(proof.encode())
            typer.echo(path)
            typer.echo(_told(proof), err=True)


def _proofs(
    settings: "Settings",
    bootstrap: str | None,
    source: Source | None,
    asked: "tuple[str, Policy]",
) -> "Sequence[Proof]":
    """Of the first place that has the request: a table may not have it yet."""
    from chimera.cli.audit import sources
    from chimera.cli.progress import waiting
    from chimera.schemas.errors import ClickHouseUnavailable
    from chimera.schemas.transparency import leaf_proofs

    request_id, believed = asked
    for one in sources.in_turn(settings, source):
        try:
            with sources.opened(settings, one, bootstrap) as log, waiting(f"{one} is asked"):
                found = log.find(request_id)
                if found:
                    return [leaf_proofs.prove(log, leaf, believed) for leaf in found]
        except ClickHouseUnavailable:
            if source is not None:
                raise
    return []


def _told(proof: "Proof") -> str:
    """For people; a program reads the file."""
    from chimera.schemas.transparency.leaves import RequestServed, decode_leaf

    leaf = decode_leaf(proof.body)
    assert isinstance(leaf, RequestServed), "no other has a request's name"
    key = f"key {leaf.commitment_key}" if leaf.commitment_key else "no key"
    return f"  {leaf.tenant}: {leaf.model} {leaf.version}, {leaf.outcome}; commitments under {key}"
