"""Where data lie, for whoever reads them from another folder: paths become `file://` URLs.

Relative ones in a configuration are of its own folder, as it is written down; on a command line they are
of the folder that it is typed in. `tests/cli/test_train_placing.py`.
"""

import os
from pathlib import Path

from msgspec.structs import replace

from chimera.schemas.training_config import TrainingConfig

SYNTHETIC = "synthetic:"


def placed(config: TrainingConfig, folder: Path) -> TrainingConfig:
    """The same with URLs for paths; `folder` is the configuration's."""
    sources = tuple(url(one, folder) for one in config.data.sources)
    return replace(config, data=replace(config.data, sources=sources))


def url(source: str, folder: Path) -> str:
    """Of a path, a glob or a folder; what is a URL, or made up, stays."""
    if "://" in source or source.startswith(SYNTHETIC):
        return source
    path = os.path.normpath(folder.absolute() / os.path.expanduser(source))
    return f"file://{path}"
