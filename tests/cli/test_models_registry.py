"""`chimera models` on a real registry: register, look up, measure."""

import asyncio
import io
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.cli.models.registry import opened
from chimera.cli.postgres.config import APPLICATION
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.compile_report import TierReport
from chimera.schemas.deployments import Change
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.server_settings import PostgresSettings
from chimera.stores import schema
from chimera.stores.artifacts import Artifacts
from chimera.stores.registry.records import Artifact
from chimera.stores.registry.registry import Registry
from chimera.workers.backends.onnx_runtime import OnnxRuntime
from chimera.workers.compiling.targets import here
from chimera.workers.models import read_manifest, write_model
from tests.stores.places import verified
from tests.workers.rig import manifest, sums

T = TypeVar("T")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres() as started:
        asyncio.run(schema.upgrade(started.owner_dsn, APPLICATION))
        yield started


@pytest.fixture(autouse=True)
def place(server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with keys and a store of its own; the registry's models are all tests' together."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHIMERA_POSTGRES__DSN", server.dsn)
    assert CliRunner().invoke(app, ["keys", "init"]).exit_code == 0
    return tmp_path


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["models", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.stdout, done.stderr


def read(*arguments: object) -> Any:
    status, out, error = run(*arguments, "--json")
    assert status == 0, error
    return json.loads(out)


def folder_of(place: Path, name: str, width: int = 2, version: str = "1") -> Path:
    return write_model(place / f"models{width}", sums(width), shaped(name, version, width))


def shaped(name: str, version: str, width: int) -> Any:
    given = manifest(name, version)
    spec = msgspec.structs.replace(given.inputs[0], shape=(-1, width))
    return msgspec.structs.replace(given, inputs=(spec,))


def asked(server: EmbeddedPostgres, work: Callable[[Registry], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with opened(PostgresSettings(dsn=SecretStr(server.dsn))) as registry:
            return await work(registry)

    return asyncio.run(ask())


def test_register_stores_and_writes_down(place: Path) -> None:
    folder = folder_of(place, "stored")
    before = sorted(path.name for path in folder.iterdir())
    made = read("register", folder)
    assert (made["model"], made["version"], made["is_new"]) == ("stored", "1", True)
    store = Artifacts(str(place / ".chimera/artifacts"), place / "cache")
    graph = made["files"]["model.onnx"]["sha256"]
    assert store.get(graph).read_bytes() == (folder / "model.onnx").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == before


def test_register_again_changes_nothing_and_says_since_when(place: Path) -> None:
    folder = folder_of(place, "again")
    status, first, _ = run("register", folder)
    assert status == 0
    assert first.startswith("again 1 is registered\n")
    status, second, _ = run("register", folder)
    assert status == 0
    assert second.startswith("again 1 was registered already, at 20")
    assert second.splitlines()[1:] == first.splitlines()[1:]
    assert len(read("show", "again")["versions"]) == 1


def test_register_without_a_key_says_how_to_make_one(place: Path) -> None:
    (place / ".chimera/keys/signing.pem").unlink()
    status, _, error = run("register", folder_of(place, "unsigned"))
    assert status == 1
    assert "`chimera keys init`" in error


def test_register_of_other_bytes_under_the_same_name_is_refused(place: Path) -> None:
    assert run("register", folder_of(place, "taken", 2))[0] == 0
    blobs = sorted((place / ".chimera/artifacts/blobs").rglob("*"))
    status, _, error = run("register", folder_of(place, "taken", 3))
    assert status == 1
    assert error.startswith("chimera models: taken 1 was registered with another manifest")
    assert sorted((place / ".chimera/artifacts/blobs").rglob("*")) == blobs


def test_register_of_what_may_not_be_served_is_refused(place: Path) -> None:
    folder = folder_of(place, "hostile")
    (folder / "model.onnx").write_bytes(b"\x80\x04K\x01.")  # a pickle
    status, _, error = run("register", folder)
    assert status == 1
    assert error.startswith("chimera models: ")
    assert run("show", "hostile")[0] == 1


def test_register_where_no_registry_runs_says_what_to_start(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHIMERA_POSTGRES__DSN")
    status, _, error = run("register", folder_of(place, "alone"))
    assert status == 1
    assert "`chimera up`" in error
    assert not (place / ".chimera/artifacts").exists()


def test_opened_refuses_a_tenant_that_is_not_there(server: EmbeddedPostgres) -> None:
    async def ask() -> None:
        async with opened(PostgresSettings(dsn=SecretStr(server.dsn)), "nobody"):
            pass

    with pytest.raises(ConfigurationError, match="no tenant nobody"):
        asyncio.run(ask())


def test_what_was_deployed_is_told_by_list_show_history_and_what_served(
    place: Path, server: EmbeddedPostgres
) -> None:
    for version in ("1", "2"):
        assert run("register", folder_of(place, "live", version=version))[0] == 0
    start = datetime.now(UTC) - timedelta(minutes=1)

    async def deploy(registry: Registry) -> None:
        first = Change("deploy", "ann", "as agreed", "1")
        second = Change("deploy", "bob", "half of it", "2", weight=50, watch=WatchPolicy())
        for version in ("1", "2"):
            made = Artifact("onnx-cpu", "fp32", "here", "verified", sha256="a" * 64, size_bytes=1)
            await registry.add_artifact("live", version, made)
        for change in (first, second):
            await registry.record_deployment("live", change)

    asked(server, deploy)
    serves = "1 serves 50 %, 2 gets 50 %, 2 is watched"
    for shown in (("list",), ("show", "live"), ("what-served",)):
        assert serves in run(*shown)[1]
    limits = "for 300 s and 500 requests at least: errors 1.000%, p99 1.5 x"
    assert limits in " ".join(run("show", "live")[1].split())
    (listed,) = [one for one in read("list") if one["name"] == "live"]
    assert (listed["versions"], listed["live"]["candidate"]["version"]) == (2, "2")
    events = read("history", "live")
    assert [event["placed"]["version"] for event in events] == ["1", "2"]
    assert [event["watched"] for event in events] == [None, "open"]
    assert events[1]["watch"]["max_error_rate"] == 0.01
    history = run("history", "live")[1]
    assert "half of it" in history and "open" in history
    assert "live" not in run("what-served", "--at", start.isoformat())[1]
    for between, served in ((events[0]["at"], None), ("0s", "2")):
        (then,) = [one for one in read("what-served", "--at", between) if one["model"] == "live"]
        assert then["serving"]["version"] == "1"
        assert (then["candidate"] and then["candidate"]["version"]) == served
    assert not [one for one in read("what-served", "--at", "1h") if one["model"] == "live"]


def test_what_served_at_what_is_no_time_says_what_one_looks_like() -> None:
    status, _, error = run("what-served", "--at", "yesterday")
    assert status == 2
    assert "2026-01-31T12:00:00Z" in error


def test_gc_removes_what_no_version_and_no_report_needs(
    place: Path, server: EmbeddedPostgres
) -> None:
    """In an empty registry, as other tests' versions are not in this store."""
    asyncio.run(schema.downgrade(server.owner_dsn, APPLICATION, "base"))
    asyncio.run(schema.upgrade(server.owner_dsn, APPLICATION))
    status, _, error = run("gc", "--older-than", "0s")
    assert (status, "no version is registered" in error) == (1, True)
    assert run("register", folder_of(place, "needed"))[0] == 0
    store = Artifacts(str(place / ".chimera/artifacts"), place / "cache")
    report, orphan = (store.put(io.BytesIO(name)).sha256 for name in (b"report", b"orphan"))

    async def compile(registry: Registry) -> None:
        made = Artifact("onnx-cpu", "fp32", "x", "refused", report={"report_sha256": report})
        await registry.add_artifact("needed", "1", made)

    asked(server, compile)
    assert read("gc")["blobs"] == [], "it is young"
    for removes, left in ((("--dry-run",), True), ((), False)):
        status, out, error = run("gc", "--older-than", "0s", *removes)
        assert (status, error) == (0, "")
        assert "0 versions, 1 files, 0 drafts" in out
        assert (orphan in out, store.has(orphan), store.has(report)) == (left, left, True)


def test_show_of_what_is_not_registered_says_so() -> None:
    status, _, error = run("show", "nobody")
    assert status == 1
    assert error == "chimera models: no model nobody is registered\n"


def stored_graph(place: Path, folder: Path) -> str:
    """Of a registered version, as its tier on the processor has it; its digest in the store."""
    found = read_manifest(folder)
    graph = place / "graph.onnx"
    OnnxRuntime("cpu", 1).save_optimised(found, (folder / found.source).read_bytes(), graph)
    return Artifacts(str(place / ".chimera/artifacts"), place / "cache").put(graph).sha256


def test_bench_measures_the_verified_tiers_of_what_serves(
    place: Path, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHIMERA_COMPILING__MEASURE_S", "0.02")
    for version in ("1", "2"):
        folder = folder_of(place, "measured", version=version)
        assert run("register", folder)[0] == 0
    status, _, error = run("bench", "measured")
    assert (status, "compile it first" in error) == (1, True)
    graph = stored_graph(place, folder_of(place / "again", "measured"))
    (place / "spoilt.onnx").write_bytes(b"no graph")
    spoilt = Artifacts(str(place / ".chimera/artifacts"), place / "cache").put(
        place / "spoilt.onnx"
    )

    async def deploy(registry: Registry) -> None:
        await registry.add_artifact("measured", "1", verified(graph, target=here("onnxruntime")))
        elsewhere = verified(graph, target="cpu-0123")  # newer
        await registry.add_artifact("measured", "1", elsewhere)
        broken = msgspec.to_builtins(TierReport("onnx-cpu", "int8", "verified"), str_keys=True)
        made = Artifact("onnx-cpu", "int8", "x", "verified", "", spoilt.sha256, 8, broken)
        await registry.add_artifact("measured", "1", made)
        await registry.record_deployment("measured", Change("deploy", "ann", "", "1"))

    asked(server, deploy)
    status, out, error = run("bench", "measured")
    assert status == 0, error
    assert out.startswith("measured 1, ") and "onnx-cpu: measuring" in error
    for rows in (1, 32, 256):
        assert f"batch {rows}: onnx-cpu" in out, "what would be chosen"
        assert re.search(
            rf"^batch {rows}\n  onnx-cpu  █+─* \d+\.\d+ / \d+\.\d+ ms$", out, re.MULTILINE
        )
    assert re.search(r"int8 .*failed: ", out), "it hides no other"
    folder = place / ".chimera" / "benched" / "measured" / "1"
    assert (folder / "tiers.png").read_bytes().startswith(b"\x89PNG")
    assert run("bench", folder)[1].splitlines()[0] == out.splitlines()[0], "it can be shown again"
    assert run("bench", "measured", "3")[0] == run("bench", "nobody")[0] == 1
