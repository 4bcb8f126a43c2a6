from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from chimera.schemas.errors import ModelFailed, ModelRefused, UnknownModel
from chimera.schemas.manifest import MAX_BATCH_ROWS, Manifest
from chimera.schemas.placements import Placement, Variant
from chimera.schemas.tensors import Array
from chimera.schemas.work import Loaded
from chimera.workers.batching import Policy
from chimera.workers.models import find, write_model
from chimera.workers.placed import find_placed
from chimera.workers.repertoire import Repertoire, load, policy_of
from chimera.workers.suspects import Board
from tests.workers.fakes import Plus
from tests.workers.rig import manifest


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board.create()
    yield made
    made.close()


class Loader:
    """Refuses what says so; notes what the board shows while it loads."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.seen: list[str] = []

    def load(self, manifest: Manifest, model: bytes) -> Plus:
        self.seen.append(self._board.loading())
        if model == b"refuse":
            raise ModelRefused("as it asked for")
        if model == b"too large":
            raise MemoryError
        return Plus(_refuse_zeros if model == b"picky" else lambda _: None)

    def open(self, manifest: Manifest, source: bytes, variant: Variant) -> Plus:
        if variant.folder == "nowhere":
            raise ModelRefused(f"{variant.name}: nothing is there")
        return Plus(tier=variant.name)


def _refuse_zeros(rows: Array) -> None:
    if not rows.any():
        raise ModelFailed("zeros")


def loaded(
    models_dir: Path, board: Board, left_out: Mapping[str, str] = MappingProxyType({})
) -> tuple[Repertoire, dict[tuple[str, str], Loaded]]:
    repertoire, reports = load(find(models_dir), Loader(board), Policy(64), board, left_out)
    return repertoire, {(report.model, report.version): report for report in reports}


def test_all_versions_are_loaded_and_the_highest_answers(tmp_path: Path, board: Board) -> None:
    for version in ("2", "10", "9"):
        write_model(tmp_path, b"x", manifest("m", version))
    repertoire, reports = loaded(tmp_path, board)
    assert [report.refused for report in reports.values()] == ["", "", ""]
    assert repertoire.find("m", None).manifest.version == "10"
    assert repertoire.find("m", "9").manifest.version == "9"
    for version in ("11", ""):
        with pytest.raises(UnknownModel, match="does not exist"):
            repertoire.find("m", version)
    with pytest.raises(UnknownModel, match="there is no model 'n'"):
        repertoire.find("n", None)


def test_refused_versions_are_reported_and_others_serve(tmp_path: Path, board: Board) -> None:
    for name, version, content in (
        ("m", "1", b"x"),
        ("m", "2", b"refuse"),
        ("m", "3", b"too large"),
        ("n", "1", b"refuse"),
        ("p", "1", b"picky"),
    ):
        write_model(tmp_path, content, manifest(name, version))
    (write_model(tmp_path, b"x", manifest("q", "1")) / "weights.pt").write_bytes(b"")
    repertoire, reports = loaded(tmp_path, board)
    assert repertoire.find("m", None).manifest.version == "1"
    assert repertoire.find("p", None)
    assert reports["m", "2"].refused == "as it asked for"
    assert "memory" in reports["m", "3"].refused
    assert "pickled" in reports["q", "1"].refused
    asked: list[tuple[str, str | None]] = [("m", "2"), ("n", None), ("n", "1"), ("q", None)]
    for model, wanted in asked:
        with pytest.raises(UnknownModel, match="refused"):
            repertoire.find(model, wanted)


def test_board_names_the_model_that_is_loaded(tmp_path: Path, board: Board) -> None:
    for name in ("m", "n"):
        write_model(tmp_path, b"x", manifest(name, "1"))
    loader = Loader(board)
    load(find(tmp_path), loader, Policy(64), board, {})
    assert loader.seen == ["m/1", "n/1"]
    assert board.loading() == ""


def test_version_that_ended_executors_is_left_out(tmp_path: Path, board: Board) -> None:
    write_model(tmp_path, b"x", manifest("m", "1"))
    repertoire, reports = loaded(tmp_path, board, left_out={"m/1": "loading it ended an executor"})
    assert "ended an executor" in reports["m", "1"].refused
    with pytest.raises(UnknownModel):
        repertoire.find("m", None)


def test_variants_are_loaded_in_the_order_of_their_times(tmp_path: Path, board: Board) -> None:
    folder = str(write_model(tmp_path, b"x", manifest("m", "1")))
    times: dict[str, dict[int, float]] = {
        "onnx-cpu": {1: 10.0, 256: 900.0},
        "onnx-cpu-int8": {1: 8.0, 256: 500.0},
        "torch-cpu": {1: 30.0},
    }
    variants = [Variant(name, folder, p99_us=p99_us) for name, p99_us in times.items()]
    variants.append(Variant("torch-compiled-cpu", "nowhere"))
    placed = Placement("m", "1", "d" * 64, folder, tuple(variants))
    repertoire, reports = load(find_placed([placed]), Loader(board), Policy(64), board, {})
    assert [report.refused for report in reports] == [""]
    served = repertoire.find("m", "1")
    assert (served.digest, served.tiers.names) == (
        "d" * 64,
        ("onnx-cpu-int8", "onnx-cpu", "torch-cpu"),
    )


def test_variant_that_stands_for_several_machines_is_loaded_once(
    tmp_path: Path, board: Board
) -> None:
    folder = str(write_model(tmp_path, b"x", manifest("m", "1")))
    variants = tuple(Variant("onnx-cpu", where) for where in ("nowhere", folder, folder))
    placed = Placement("m", "1", "d" * 64, folder, variants)
    repertoire, (report,) = load(find_placed([placed]), Loader(board), Policy(64), board, {})
    assert (report.refused, repertoire.find("m", "1").tiers.names) == ("", ("onnx-cpu",))


def test_version_of_which_no_variant_loads_is_refused(tmp_path: Path, board: Board) -> None:
    folder = str(write_model(tmp_path, b"x", manifest("m", "1")))
    variants = (Variant("torch-cpu", "nowhere"), Variant("onnx-cpu", "nowhere"))
    placed = Placement("m", "1", "d" * 64, folder, variants)
    _, (report,) = load(find_placed([placed]), Loader(board), Policy(64), board, {})
    assert report.refused == "torch-cpu: nothing is there; onnx-cpu: nothing is there"


def test_tier_is_warm_at_the_batch_sizes_that_it_will_meet(tmp_path: Path, board: Board) -> None:
    seen: list[int] = []

    class Watched(Loader):
        def open(self, manifest: Manifest, source: bytes, variant: Variant) -> Plus:
            return Plus(lambda rows: seen.append(len(rows)), variant.name)

    folder = str(write_model(tmp_path, b"x", manifest("m", "1")))
    variant = Variant("onnx-cpu", folder, p99_us={1: 1.0, 32: 1.0, 256: 1.0})
    placed = Placement("m", "1", "d" * 64, folder, (variant,))
    load(find_placed([placed]), Watched(board), Policy(64), board, {})
    assert set(seen) == {1, 32, 64}


@pytest.mark.parametrize(
    ("fields", "default", "expected"),
    [
        ({}, Policy(64, 5), Policy(64, 5)),
        ({"max_batch_size": 8, "max_queue_delay_us": 0}, Policy(64, 5), Policy(8, 0)),
        ({"preferred_batch_size": (4,)}, Policy(64, 5), Policy(64, 5, (4,))),
        ({"max_batch_size": 0}, Policy(64, 5), Policy(1)),
        ({}, Policy(10 * MAX_BATCH_ROWS), Policy(MAX_BATCH_ROWS)),
    ],
)
def test_manifest_decides_how_its_model_is_batched(
    fields: dict[str, Any], default: Policy, expected: Policy
) -> None:
    assert policy_of(manifest(**fields), default) == expected
