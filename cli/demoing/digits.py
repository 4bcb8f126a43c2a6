"""The demo's data: scikit-learn's 1,797 handwritten digits, as they are and as negatives, in two files.

    FOLDER/digits.csv      what the first run learns from
    FOLDER/negatives.csv   the same images, dark for light: what the second one does
    FOLDER/digit.json      an image that neither has, for `chimera infer`

A quarter of the images is held out: what is sent stands in neither file.
`tests/cli/demoing/test_digits.py` compares the digits with scikit-learn's.
"""

import importlib.util
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chimera.cli.demoing.configuration import SAMPLE
from chimera.cli.demoing.versions import GOOD, WORSE
from chimera.schemas.errors import ConfigurationError

SEED = 0
HELD_OUT = 0.25
PIXELS = 64
BRIGHTEST = 16.0
FILES = {GOOD: "digits.csv", WORSE: "negatives.csv"}  # by who learns from it

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


class Parts(NamedTuple):
    """[n, 64] pixels of 0 to 16 and [n] labels, twice."""

    images: Images
    labels: Labels
    held_out_images: Images
    held_out_labels: Labels


def digits() -> tuple[Images, Labels]:
    """All images, [1797, 64], and their labels; read without importing scikit-learn (seconds).

    Raises:
        ConfigurationError: scikit-learn is not installed.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise ConfigurationError(
            "the demo trains on scikit-learn's digits: install chimera-stream[demo]"
        )
    file = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    rows = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return rows[:, :PIXELS], rows[:, PIXELS].astype(np.int64)


def parts() -> Parts:
    """Raises as `digits`."""
    images, labels = digits()
    order = np.random.default_rng(SEED).permutation(len(labels))
    held_out, rest = np.split(order, [int(len(order) * HELD_OUT)])
    return Parts(images[rest], labels[rest], images[held_out], labels[held_out])


def write(folder: Path, parts: Parts) -> None:
    """All three files, into a new folder."""
    folder.mkdir(parents=True)
    _write_rows(folder / FILES[GOOD], parts.images, parts.labels)
    _write_rows(folder / FILES[WORSE], BRIGHTEST - parts.images, parts.labels)
    image = parts.held_out_images[0].tolist()
    tensor = {"name": "image", "shape": [1, PIXELS], "datatype": "FP32", "data": image}
    (folder / SAMPLE).write_text(json.dumps({"inputs": [tensor]}) + "\n", "utf-8")


def _write_rows(file: Path, images: Images, labels: Labels) -> None:
    names = [*(f"pixel_{at}" for at in range(PIXELS)), "digit"]
    rows = np.column_stack((images, labels)).astype(np.int64)
    np.savetxt(file, rows, fmt="%d", delimiter=",", header=",".join(names), comments="")
