"""What of the store the registry refers to: versions, what may serve or does, and every report."""

import asyncio
from typing import Any

import msgspec

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.manifest import File
from chimera.stores.registry.records import Artifact
from tests.stores.places import opened, register, verified

FIRST, PLAN, SECOND, REFUSED = (letter * 64 for letter in "abcd")
REPORTS = {name: name * 64 for name in "123"}


def made(sha256: str, report: str, **files: str) -> Artifact:
    """A verified tier, with files beside its own."""
    found = verified(sha256)
    beside = {name: File(digest, 1) for name, digest in files.items()}
    said: dict[str, Any] = {
        **found.report,
        "files": msgspec.to_builtins(beside),
        "report_sha256": REPORTS[report],
    }
    return msgspec.structs.replace(found, report=said)


def test_kept_is_what_may_serve_and_every_report(server: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with opened(server) as place:
            registry, other = place.registry, (await place.another()).registry
            version = await register(registry)
            assert await registry.kept(0) == {version.digest}
            await registry.add_artifact("digits", "1", made(FIRST, "1", plan=PLAN))
            kept = {version.digest, FIRST, PLAN, REPORTS["1"]}
            assert await registry.kept(0) == kept
            await registry.add_artifact("digits", "1", made(SECOND, "2"))
            assert await registry.kept(3_600) == {*kept, SECOND, REPORTS["2"]}, "nodes may have it"
            kept = {version.digest, SECOND, REPORTS["1"], REPORTS["2"]}
            assert await registry.kept(0) == kept
            refused = msgspec.structs.replace(made(REFUSED, "3"), verdict="refused")
            await registry.add_artifact("digits", "1", refused)
            kept |= {REPORTS["3"]}
            assert await registry.kept(0) == kept, "what serves may have nothing else"
            assert await other.kept(0) == set()

    asyncio.run(run())
