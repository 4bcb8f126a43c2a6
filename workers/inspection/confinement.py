"""What a process gives up before it reads a stranger's bytes; there is no way back.

Limits of the kernel: address space, processor time, 1 MiB a file (what it may answer), no core, no
child (not held against root), no privilege to be gained. It dies with its parent, and has no network
where the kernel lets it go without (root, or user namespaces). Whatever the libraries then do wrong
with the bytes, they do alone. `tests/workers/test_confinement.py` tries what is forbidden.
"""

import ctypes
import os
import resource
import signal
import sys

MAX_ANSWER_BYTES = 1 << 20
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000


def confine(memory_bytes: int, cpu_s: int, parent_pid: int) -> bool:
    """Give it all up; whether the network is gone too.

    Raises:
        OSError, ValueError: the kernel refuses a limit.
        SystemExit: the parent is gone already.
    """
    limits = (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, MAX_ANSWER_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    )
    for which, limit in limits:
        hard = resource.getrlimit(which)[1]
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(which, (lower, lower))
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent_pid:
        raise SystemExit("its parent is gone")
    return _leave_the_network(libc)


def _leave_the_network(libc: ctypes.CDLL) -> bool:
    """Into a network of its own, with nothing in it. Root keeps its rights to read files."""
    if libc.unshare(_CLONE_NEWNET) == 0:
        return True
    return os.geteuid() != 0 and libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0
