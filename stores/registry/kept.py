"""What the registry refers to in the store of artifacts: all else there is garbage.

    versions   each that is registered, by its digest: its manifest names the files
    files      of the newest verified artifact of each tier, precision and target, which may serve still
               though a later report rejects it, and of what it replaced a while ago: nodes may not
               have followed yet
    reports    all of them: they are history

Functions over a tenant's transaction, as in `versions`. `tests/stores/registry/test_kept.py`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chimera.stores.postgres import Connection

_KEPT = """
WITH used AS (
    SELECT a.sha256, a.report FROM artifacts a
    WHERE a.verdict = 'verified' AND NOT EXISTS (
        SELECT 1 FROM artifacts b
        WHERE (b.version_id, b.tier, b.precision, b.target)
            = (a.version_id, a.tier, a.precision, a.target)
            AND b.verdict = 'verified' AND b.made_at > a.made_at
            AND b.made_at < clock_timestamp() - make_interval(secs => $1)))
SELECT encode(sha256(manifest_bytes), 'hex') FROM versions
UNION SELECT sha256 FROM used
UNION SELECT file.value ->> 'sha256'
    FROM used CROSS JOIN jsonb_each(coalesce(used.report -> 'files', '{}')) file
UNION SELECT report ->> 'report_sha256' FROM artifacts WHERE report ? 'report_sha256'
"""


async def digests(connection: "Connection", since_s: float) -> set[str]:
    """Of versions and of files; `since_s`: what was replaced less long ago is kept, too."""
    return {row[0] for row in await connection.fetch(_KEPT, since_s)}
