"""Which account a server runs under that refuses to be root: Postgres does.

Anybody else runs it as himself. Root gives its folder to an account without rights (`postgres`,
where there is one, else `nobody`) and a tiny shim becomes that account before it becomes the
server. No folder above is opened to others for it, and no account is made: where the account cannot
reach the server's files, the shim keeps one right of root's, to read past permissions. The shim
also asks the kernel to end the server with its parent, as `child` does; becoming another account
would undo what was asked before. `tests/cli/test_account.py` proves both.
"""

import os
import pwd
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NAMES = ("postgres", "nobody")

# Arguments: user and group id (-1: stay who we are), paths to reach, "--", the command. The numbers
# are Linux's: capabilities 1 (read and write past permissions) and 2 (read alone), prctl 8
# (keep capabilities), 47 2 (pass one on to the command), 1 (signal 9 when the parent is gone).
_SHIM = """
import ctypes, os, struct, sys
split = sys.argv.index("--")
user, group = int(sys.argv[1]), int(sys.argv[2])
parent = os.getppid()
libc = ctypes.CDLL(None, use_errno=True)
if user >= 0:
    libc.prctl(8, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    if not all(os.access(path, os.X_OK) for path in sys.argv[3:split]):
        for right in (2, 1):
            head = struct.pack("=Ii", 0x20080522, 0)
            sets = struct.pack("=6I", 1 << right, 1 << right, 1 << right, 0, 0, 0)
            if libc.capset(head, sets) == 0 and libc.prctl(47, 2, right, 0, 0) == 0:
                break
        else:
            sys.exit(f"account {user} cannot reach {' and '.join(sys.argv[3:split])}")
if sys.platform == "linux":
    libc.prctl(1, 9, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
os.execv(sys.argv[split + 1], sys.argv[split + 1:])
"""


@dataclass(frozen=True, slots=True)
class Account:
    """`user_id` and `group_id` of -1: whoever runs us."""

    user_id: int = -1
    group_id: int = -1

    def command(self, command: Sequence[str], reaches: Sequence[Path]) -> list[str]:
        """`command` (an absolute path, then its arguments) under this account.

        Args:
            reaches: folders and programs that it must be able to reach.
        """
        ids = [str(self.user_id), str(self.group_id)]
        paths = [str(path) for path in reaches]
        return [sys.executable, "-I", "-S", "-c", _SHIM, *ids, *paths, "--", *command]

    def give(self, path: Path) -> None:
        """Make it the account's own."""
        if self.user_id >= 0:
            os.chown(path, self.user_id, self.group_id)


def account_of(folder: Path) -> Account:
    """For a server with its data in `folder`: its owner, where it is there and that is not root."""
    if os.geteuid() != 0:
        return Account()
    if folder.exists() and folder.stat().st_uid != 0:
        owner = folder.stat()
        return Account(owner.st_uid, owner.st_gid)
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(known[name] for name in NAMES if name in known)
    return Account(entry.pw_uid, entry.pw_gid)
