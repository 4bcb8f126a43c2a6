"""The digits that the demo reads are those that scikit-learn ships."""

import subprocess
import sys


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
