"""An export: read as it was written, as ClickHouse writes it, and after every accident."""

from pathlib import Path

import pyarrow  # type: ignore[import-untyped]  # ships no type information
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency.verification import verify
from chimera.stores import audit_export
from tests.schemas.transparency.logs import make_log, make_policy

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

LOG = make_log(25)
CHECKPOINTS = [LOG.checkpoint(10), LOG.checkpoint(25, "w1")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "export"
    audit_export.write(path, LOG.rows(), CHECKPOINTS, b"quorum none\n")
    return path


def leaves(folder: Path) -> Path:
    return folder / "leaves" / "00000000.parquet"


def test_export_is_read_as_it_was_written(folder: Path) -> None:
    assert list(audit_export.read_rows(folder)) == LOG.rows()
    assert audit_export.read_checkpoints(folder) == CHECKPOINTS
    rows = audit_export.read_rows(folder)
    assert verify(rows, audit_export.read_checkpoints(folder), make_policy()).is_good


def test_rows_of_several_files_follow_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_export, "_FILE_ROWS", 10)
    monkeypatch.setattr(audit_export, "_BATCH_ROWS", 4)
    audit_export.write(tmp_path / "e", LOG.rows(), [], b"")
    assert len(list((tmp_path / "e" / "leaves").iterdir())) == 3
    assert list(audit_export.read_rows(tmp_path / "e")) == LOG.rows()


def test_empty_log_is_exported_too(tmp_path: Path) -> None:
    audit_export.write(tmp_path / "e", [], [], b"")
    assert list(audit_export.read_rows(tmp_path / "e")) == []
    assert audit_export.read_checkpoints(tmp_path / "e") == []


def test_columns_may_be_strings_and_stand_in_any_order_among_others(folder: Path) -> None:
    rows = LOG.rows()
    table = pyarrow.table(
        {
            "chain_hash": pyarrow.array([row.chain_hash for row in rows], pyarrow.binary()),
            "ts": list(range(25)),
            "body": [row.body.decode() for row in rows],
            "log_index": pyarrow.array(range(25), pyarrow.int64()),
            "leaf_hash": pyarrow.array([row.leaf_hash for row in rows], pyarrow.binary(32)),
        }
    )
    parquet.write_table(table, leaves(folder))
    assert list(audit_export.read_rows(folder)) == rows


def test_file_that_is_none_is_refused_by_its_name(folder: Path) -> None:
    raw = leaves(folder).read_bytes()
    for wrong in (b"", b"no Parquet", raw[:-9], raw[: len(raw) // 2] + bytes(8) + raw[:-8][-400:]):
        leaves(folder).write_bytes(wrong)
        with pytest.raises(EvidenceMalformed, match="00000000.parquet: is no Parquet"):
            list(audit_export.read_rows(folder))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a good file."""
    path = tmp_path_factory.mktemp("whole") / "export"
    audit_export.write(path, LOG.rows(), CHECKPOINTS, b"")
    return leaves(path).read_bytes()


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_file_after_an_accident_is_refused_or_its_rows_are_not_good(
    folder: Path, whole: bytes, data: st.DataObject
) -> None:
    raw = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] ^= data.draw(st.integers(1, 255))
    leaves(folder).write_bytes(raw)
    try:
        rows = list(audit_export.read_rows(folder))
    except EvidenceMalformed as error:
        assert "00000000.parquet" in str(error)
    else:
        assert verify(rows, CHECKPOINTS, make_policy()).is_good == (rows == LOG.rows())


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"log_index": [0]}, "no Parquet file of leaves"),
        ({"log_index": ["x"], "body": [b""], "leaf_hash": [b""], "chain_hash": [b""]}, "leaves"),
        ({"log_index": [-1], "body": [b""], "leaf_hash": [b""], "chain_hash": [b""]}, "leaves"),
        ({"log_index": [0], "body": [None], "leaf_hash": [b""], "chain_hash": [b""]}, "missing"),
    ],
)
def test_other_columns_are_refused(
    folder: Path, columns: dict[str, list[object]], names: str
) -> None:
    parquet.write_table(pyarrow.table(columns), leaves(folder))
    with pytest.raises(EvidenceMalformed, match=names):
        list(audit_export.read_rows(folder))


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(EvidenceMalformed, match=r"leaves: has no \*.parquet"):
        list(audit_export.read_rows(tmp_path))
    with pytest.raises(EvidenceMalformed, match=r"checkpoints.txt: cannot be read"):
        audit_export.read_checkpoints(tmp_path)
    (tmp_path / "large").write_bytes(b"abc")
    with pytest.raises(EvidenceMalformed, match="more than 2 bytes"):
        audit_export.read_file(tmp_path / "large", 2)
