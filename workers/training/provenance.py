"""Which code a run was made by, as far as it is not ours: the file that defines what a path names.

What that file imports is not in its digest: code versions are a repository's to keep.
`tests/workers/training/test_run.py`.
"""

import hashlib
import inspect
from pathlib import Path
from typing import Any


def source_sha256(found: Any) -> str:
    """Of the source file of a class or a function; empty where it has none."""
    try:
        file = inspect.getsourcefile(found)
    except TypeError:  # it is built in, or made by a call
        file = None
    return "" if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
