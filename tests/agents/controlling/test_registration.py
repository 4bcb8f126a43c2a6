"""A register command that anybody may have written: signed, fetched, inspected, or refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chimera.agents.controlling.commands import Commands
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.errors import UnknownModel
from chimera.schemas.model_commands import RegisterModel
from chimera.schemas.model_events import CommandAnswered
from chimera.schemas.settings import Settings
from chimera.stores.artifacts import Artifacts
from chimera.stores.versions import Versions
from tests.agents.controlling.stage import settings_of
from tests.agents.controlling.test_compilation import sums
from tests.stores.content import sha256, version_in
from tests.stores.places import Place, opened


@pytest.fixture
def settings(prefix: str, tmp_path: Path) -> Settings:
    found = settings_of("nowhere:1", prefix, tmp_path)
    shared = {"sources": (f"file://{tmp_path}/shared",)}
    artifacts = found.artifacts.model_copy(update=shared)
    return found.model_copy(update={"artifacts": artifacts})


async def answered(place: Place, settings: Settings, **fields: Any) -> CommandAnswered:
    command = RegisterModel(
        command_id="c-1", tenant=place.tenant.name, model="digits", actor="ada", version="1",
        **fields,
    )  # fmt: skip
    answer = (await Commands(settings, place.database, "us").do(command))[-1]
    assert isinstance(answer, CommandAnswered)
    return answer


def upload(folder: Path, model: bytes) -> tuple[str, str]:
    """A signed folder as another machine has it; its URL and digest."""
    raw, signature = version_in(folder, model=model)
    (folder / "manifest.json").write_bytes(raw)
    (folder / "manifest.sig").write_text(signature)
    return f"file://{folder}", sha256(raw)


def test_version_that_is_not_stored_is_fetched_inspected_and_stored(
    server: EmbeddedPostgres, settings: Settings, tmp_path: Path
) -> None:
    url, digest = upload(tmp_path / "shared" / "one", sums())
    store = Artifacts(settings.artifacts.url, settings.artifacts.cache_dir)

    async def run() -> None:
        async with opened(server) as place:
            answer = await answered(place, settings, source=url, manifest_sha256=digest)
            assert answer.outcome == "done", answer.error
            assert (await place.registry.version("digits", "1")).digest == digest
            assert Versions(store).has(digest) and store.has(sha256(sums()))
            again = await answered(place, settings, source="gone:", manifest_sha256=digest)
            assert again.outcome == "done", "what is stored needs no source"

    asyncio.run(run())


@pytest.mark.parametrize("is_stored", [True, False])
def test_signed_version_that_may_not_be_served_is_refused(
    server: EmbeddedPostgres, settings: Settings, tmp_path: Path, is_stored: bool
) -> None:
    folder = tmp_path / "shared" / "hostile"
    url, digest = upload(folder, b"\x80\x04K\x01.")  # a pickle, and somebody signed it
    store = Versions(Artifacts(settings.artifacts.url, settings.artifacts.cache_dir))
    if is_stored:
        raw, signature = ((folder / f"manifest.{kind}").read_bytes() for kind in ("json", "sig"))
        store.add(folder, raw, signature.decode())

    async def run() -> None:
        async with opened(server) as place:
            answer = await answered(place, settings, source=url, manifest_sha256=digest)
            assert answer.outcome == "refused"
            assert "model.onnx" in answer.error
            assert store.has(digest) is is_stored
            with pytest.raises(UnknownModel):
                await place.registry.version("digits", "1")

    asyncio.run(run())


def test_source_that_is_not_allowed_is_refused(
    server: EmbeddedPostgres, settings: Settings, tmp_path: Path
) -> None:
    url, digest = upload(tmp_path / "elsewhere", sums())

    async def run() -> None:
        async with opened(server) as place:
            answer = await answered(place, settings, source=url, manifest_sha256=digest)
            assert (answer.outcome, "SOURCES" in answer.error) == ("refused", True)

    asyncio.run(run())
