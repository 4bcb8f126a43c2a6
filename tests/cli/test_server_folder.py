"""A server's folder: room is measured, one process owns it, a temporary one leaves nothing."""

import os
import time
from pathlib import Path

import pytest

from chimera.cli.stack import locks
from chimera.cli.stack.server_folder import ServerFolder, sweep, temporary_prefix
from chimera.schemas.errors import ConfigurationError


def folder(path: Path | None, needed_bytes: int = 1) -> ServerFolder:
    return ServerFolder(path, server="Kafka", needed_bytes=needed_bytes)


def test_folder_in_use_names_setting_and_holder(tmp_path: Path) -> None:
    first = folder(tmp_path)
    first.prepare()
    first.take()
    second = folder(tmp_path)
    second.prepare()
    with pytest.raises(ConfigurationError, match=f"KAFKA__EMBEDDED_DIR.*by process {os.getpid()}"):
        second.take()
    first.release()
    second.take()
    second.release()


def test_folder_with_too_little_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"MiB left, Kafka needs"):
        folder(tmp_path, needed_bytes=1 << 60).prepare()


def test_folder_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        folder(tmp_path / "file" / "data").prepare()


def test_discard_removes_a_temporary_folder_and_keeps_another(tmp_path: Path) -> None:
    kept, gone = folder(tmp_path), folder(None)
    paths = [kept.prepare(), gone.prepare()]
    for one in (kept, gone):
        one.discard()
    assert [path.exists() for path in paths] == [True, False]


def test_sweep_removes_what_a_killed_owner_left_and_nothing_else(tmp_path: Path) -> None:
    names = {"chimera-kafka-old": 3600, "chimera-kafka-held": 3600, "chimera-kafka-new": 0}
    for name in (*names, "other"):
        (tmp_path / name).mkdir()
    held = locks.take(tmp_path / "chimera-kafka-held" / "lock")
    for name, age_s in names.items():
        then = time.time() - age_s
        os.utime(tmp_path / name, (then, then))
    sweep(tmp_path, temporary_prefix("Kafka"))
    left = {folder.name for folder in tmp_path.iterdir()}
    assert left == {"chimera-kafka-held", "chimera-kafka-new", "other"}
    os.close(held or 0)
