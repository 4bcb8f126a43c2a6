"""`chimera audit verify`: the audit log, or an export of it, from its first leaf to its last."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.audit.sources import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chimera.schemas.transparency.policy import Policy
    from chimera.schemas.transparency.verification import Verdict

MAX_HELD_BYTES = 1 << 24


def verify(
    export: Annotated[
        Path | None,
        typer.Option(help="Folder with leaves/*.parquet, checkpoints.txt; else the log itself."),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="Whom to believe (C2SP tlog-policy); else the export's own, or our key."),
    ] = None,
    held: Annotated[
        list[Path] | None,
        typer.Option(help="Checkpoints from elsewhere: a witness's, or an earlier visit's."),
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option(
            help="How long ago its witnesses may have seen it last: 3h, 7d; else whenever."
        ),
    ] = None,
    source: Annotated[
        Source, typer.Option(help="Without an export: Kafka's own log, or the warehouse's table.")
    ] = "kafka",
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Verify the log: every hash, root, signature and cosignature. Exit 2: something was done to it.

    Exit 1: it could not be gone over, because a file is missing or is none.
    """
    from chimera.cli.models.moments import seconds
    from chimera.cli.refusals import told

    age_s = None if max_age is None else seconds(max_age)
    with told("audit verify"):
        from chimera.schemas.transparency import checkpoints, policy_file, verification
        from chimera.stores import audit_export

        brought = [
            note
            for file in held or []
            for note in checkpoints.split_held(audit_export.read_file(file, MAX_HELD_BYTES))
        ]
        if export is None:
            believed, verdict = _of_log(policy, source, bootstrap, brought, age_s)
        else:
            path = policy or export / audit_export.POLICY_FILE
            raw = audit_export.read_file(path, policy_file.MAX_POLICY_BYTES)
            believed = policy_file.decode(raw, str(path))
            rows, published = audit_export.read_rows(export), audit_export.read_checkpoints(export)
            since_s = _since_s(believed, age_s)
            verdict = verification.verify(rows, published, believed, brought, since_s=since_s)
    is_own = export is not None and policy is None
    typer.echo(_json(verdict, is_own) if as_json else said(verdict, believed, is_own))
    raise typer.Exit(0 if verdict.is_good else 2)


def _of_log(
    policy: Path | None,
    source: Source,
    bootstrap: str | None,
    brought: "Sequence[bytes]",
    age_s: int | None,
) -> "tuple[Policy, Verdict]":
    """Leaves up to the largest checkpoint that is believed: those behind it are not signed yet."""
    from chimera.cli.audit import sources
    from chimera.schemas.settings import load
    from chimera.schemas.transparency import verification

    settings = load()
    believed = sources.believed(settings, policy)
    since_s = _since_s(believed, age_s)
    with sources.opened(settings, source, bootstrap) as log:
        published = log.checkpoints()
        rows = log.rows(believed.size_of(published) or 0)
        return believed, verification.verify(rows, published, believed, brought, since_s=since_s)


def _since_s(policy: "Policy", age_s: int | None) -> int | None:
    """Raises ConfigurationError: nobody tells times."""
    import time

    from chimera.schemas.errors import ConfigurationError
    from chimera.schemas.transparency.policy import NONE

    if age_s is None:
        return None
    if policy.quorum == NONE:
        raise ConfigurationError(
            "--max-age: the policy asks for no witness, and they alone tell times"
        )
    return int(time.time()) - age_s


def said(verdict: "Verdict", policy: "Policy", is_own_policy: bool) -> str:
    from chimera.schemas.transparency.cosignatures import moment

    lines = [_headline(verdict, policy), *(f"  {fault}" for fault in verdict.faults)]
    if not verdict.is_good:
        lines.append(f"  the first {verdict.signed_size:,} leaves have a root that was signed")
    if verdict.witnessed_at_s is not None:
        lines.append(f"  witnesses last saw it at {moment(verdict.witnessed_at_s)}")
    for span in verdict.spans:
        repeats = ""
        if span.repeats:
            repeats = (
                f", {span.repeats:,} of requests that had one, the first leaf {span.first_repeat}"
            )
        lines.append(f"  leaves {span.first:,} to {span.last:,}: {span.guarantee}{repeats}")
    for use in verdict.keys:
        leaves = f"{use.leaves:,} of leaves {use.first:,} to {use.last:,}"
        lines.append(f"  commitments of {use.tenant}: key {use.key}, {leaves}")
    for one in verdict.unreconciled:
        lane = f"{one.topic}-{one.partition}, offsets {one.first_offset} to {one.end_offset}"
        counts = f"{one.missing:,} without a leaf, {one.repeated:,} leaves too many"
        lines.append(f"  leaf {one.index:,}: reconciliation of {lane}: {counts}")
    for begin in verdict.begins:
        told = f"counted from offset {begin.offset:,} on; of those before it the log knows nothing"
        lines.append(f"  {begin.topic}-{begin.partition} is {told}")
    if verdict.unreadable:
        lines.append(f"  {verdict.unreadable:,} leaves are of no kind that this release knows")
    if is_own_policy:
        keys = ", ".join(log.key.text for log in policy.logs)
        lines.append(f"  the keys came with the export; compare them elsewhere: {keys}")
    return "\n".join(lines)


def _headline(verdict: "Verdict", policy: "Policy") -> str:
    from chimera.schemas.transparency.notes import encode_base64
    from chimera.schemas.transparency.policy import NONE

    summary = f"{verdict.leaves:,} leaves, root {encode_base64(verdict.root)}"
    if not verdict.is_good:
        return f"audit verify: NOT OK, {summary}"
    seen = "no witness asked for" if policy.quorum == NONE else "witnessed"
    return f"audit verify: ok, {summary}, signed, {seen}"


def _json(verdict: "Verdict", is_own_policy: bool) -> str:
    import json
    from dataclasses import asdict

    import msgspec

    from chimera.schemas.transparency.notes import encode_base64

    fields = {
        **asdict(verdict),
        "root": encode_base64(verdict.root),
        "spans": [span._asdict() for span in verdict.spans],
        "keys": [use._asdict() for use in verdict.keys],
        "begins": [lane._asdict() for lane in verdict.begins],
        "unreconciled": [msgspec.structs.asdict(one) for one in verdict.unreconciled],
    }
    believed = "the export's own" if is_own_policy else "the auditor's"
    return json.dumps({"ok": verdict.is_good, "policy": believed, **fields}, indent=2)
