"""The digits that the demo reads are those that scikit-learn ships, and what runs learn from is them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from chimera.cli.demoing import digits
from chimera.cli.demoing.versions import GOOD, WORSE


def test_digits_are_scikit_learns() -> None:
    script = """
import numpy as np
from sklearn.datasets import load_digits
from chimera.cli.demoing.digits import digits
images, labels = digits()
theirs = load_digits()
assert np.array_equal(images, theirs.data) and np.array_equal(labels, theirs.target)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=100)


def test_files_hold_the_digits_their_negatives_and_nothing_that_is_sent(tmp_path: Path) -> None:
    parts = digits.parts()
    digits.write(tmp_path / "data", parts)
    first, second = (
        np.loadtxt(tmp_path / "data" / digits.FILES[one], delimiter=",", skiprows=1)
        for one in (GOOD, WORSE)
    )
    assert np.array_equal(first[:, :64], parts.images)
    assert np.array_equal(first[:, :64] + second[:, :64], np.full((len(first), 64), 16.0))
    assert np.array_equal(first[:, 64], second[:, 64])
    assert len(first) + len(parts.held_out_images) == 1_797
    sample = json.loads((tmp_path / "data" / "digit.json").read_text())
    assert sample["inputs"][0]["data"] == parts.held_out_images[0].tolist()
