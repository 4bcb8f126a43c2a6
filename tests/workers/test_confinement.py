"""What a confined process can no longer do, tried in one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

CONFINED = """
import os, sys
from chimera.workers.inspection.confinement import confine
isolated = confine(1 << 29, 5, {parent})
{body}
"""


def confined(body: str, parent: int | None = None) -> subprocess.CompletedProcess[str]:
    code = CONFINED.format(parent=os.getpid() if parent is None else parent, body=body)
    command = [sys.executable, "-I", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("RLIMIT_AS", 1 << 29),
        ("RLIMIT_CPU", 5),
        ("RLIMIT_FSIZE", 1 << 20),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_NPROC", 0),
    ],
)
def test_limit_holds_and_cannot_be_raised(limit: str, value: int) -> None:
    done = confined(f"import resource; print(*resource.getrlimit(resource.{limit}))")
    assert done.stdout.split() == [str(value)] * 2


def test_memory_beyond_the_limit_is_refused() -> None:
    assert "MemoryError" in confined("bytearray(1 << 29)").stderr


def test_large_file_cannot_be_written(tmp_path: Path) -> None:
    done = confined(f"open({str(tmp_path / 'f')!r}, 'wb').write(b'x' * (2 << 20))")
    assert "File too large" in done.stderr
    assert (tmp_path / "f").stat().st_size <= 1 << 20


def test_network_is_gone_where_the_kernel_allows_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = confined(
            f"import socket\nprint(isolated)\nsocket.create_connection(('127.0.0.1', {port}), 2)"
        )
    if done.stdout.strip() == "False":
        pytest.skip("this kernel lets nobody leave the network here")
    assert "Network is unreachable" in done.stderr


def test_no_program_can_give_it_more_rights() -> None:
    done = confined("print(open('/proc/self/status').read())")
    assert "NoNewPrivs:\t1" in done.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="the kernel does not hold it against root")
def test_no_child_can_be_started() -> None:
    assert "BlockingIOError" in confined("os.fork()").stderr


def test_process_whose_parent_is_gone_ends() -> None:
    done = confined("print('alive')", parent=1)
    assert (done.returncode, done.stdout) == (1, "")
    assert "parent is gone" in done.stderr
