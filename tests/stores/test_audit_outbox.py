"""The outbox on a real disk: what was done is told, what was not is not, and a kill loses nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chimera.schemas.control_actions import Act, key_created
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.transparency.leaves import ActionTaken, decode_leaf
from chimera.stores.audit_outbox import AuditOutbox

DYING = """
import os, signal, sys
from pathlib import Path
from chimera.schemas.control_actions import Act, key_created
from chimera.stores.audit_outbox import AuditOutbox
with AuditOutbox(Path(sys.argv[1])).holding(key_created(Act("ada", 1, "e-1"), "log", "k", "f")):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def outbox(tmp_path: Path) -> AuditOutbox:
    return AuditOutbox(tmp_path / "outbox")


def event(number: int) -> ActionTaken:
    return key_created(Act("ada", number, f"e-{number}"), "log", "k", "f")


def waiting(outbox: AuditOutbox) -> list[str]:
    with outbox.waiting() as found:
        return [
            one.event_id for one in map(decode_leaf, found.values()) if type(one) is ActionTaken
        ]


def test_events_wait_in_their_order_until_they_are_forgotten(outbox: AuditOutbox) -> None:
    assert waiting(outbox) == []
    for number in (9, 10, 2):
        with outbox.holding(event(number)):
            pass
    assert waiting(outbox) == ["e-2", "e-9", "e-10"]
    with outbox.waiting() as found:
        outbox.forget([*found][:2])
    assert waiting(outbox) == ["e-10"]


def test_event_is_on_the_disk_before_it_is_done(outbox: AuditOutbox) -> None:
    with outbox.holding(event(1)):
        assert [path.suffix for path in outbox.folder.glob("*e-1*")] == [".json"]


def test_event_of_what_was_not_done_never_was(outbox: AuditOutbox) -> None:
    with pytest.raises(ZeroDivisionError), outbox.holding(event(1)):
        raise ZeroDivisionError
    assert waiting(outbox) == []


def test_nobody_sends_what_is_not_done_yet_nor_twice_at_a_time(outbox: AuditOutbox) -> None:
    with outbox.holding(event(1)):
        assert waiting(outbox) == []
    with outbox.waiting() as found:
        assert len(found) == 1
        assert waiting(outbox) == []


def test_event_of_who_was_killed_meanwhile_waits(outbox: AuditOutbox) -> None:
    done = subprocess.run([sys.executable, "-c", DYING, str(outbox.folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert waiting(outbox) == ["e-1"]


def test_nothing_is_done_where_the_event_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outbox = AuditOutbox(tmp_path / "file" / "outbox")
    with pytest.raises(ConfigurationError, match="outbox"), outbox.holding(event(1)):
        raise AssertionError("it was done")


def test_folder_is_closed_to_others(outbox: AuditOutbox) -> None:
    with outbox.holding(event(1)):
        pass
    assert os.stat(outbox.folder).st_mode & 0o077 == 0


def test_damaged_files_are_named_and_hold_up_nobody(outbox: AuditOutbox) -> None:
    for number in (1, 2, 3):
        with outbox.holding(event(number)):
            pass
    cut, other, _ = sorted(outbox.folder.glob("*.json"))
    cut.write_bytes(cut.read_bytes()[:-9])
    other.write_bytes(b'{"kind":"nothing"}')
    assert waiting(outbox) == ["e-3"]
    assert [*outbox.damaged()] == [cut.name, other.name]
    assert all(outbox.damaged().values())
