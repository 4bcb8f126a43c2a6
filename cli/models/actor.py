"""Who gives a command, as the history writes it down: the account of this process, and its machine."""

import getpass
import os
import socket

MAX_LENGTH = 255


def actor() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's account without a name
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"[:MAX_LENGTH]
