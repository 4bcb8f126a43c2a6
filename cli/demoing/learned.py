"""What the runs have learned, computed here once more: each version's own scores of the held-out digits.

With numpy, from the weights that a run wrote: results are compared with what shares no code with
whatever serves. `tests/cli/demoing/test_learned.py` compares it with torch.
"""

# pyright: reportUnknownVariableType=false
# (safetensors' functions are typed in part)

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from chimera.cli.demoing.digits import BRIGHTEST, Images, Parts
from chimera.cli.demoing.lessons import Lesson
from chimera.cli.demoing.requests import Digits
from chimera.workers.training.folder import WEIGHTS


def learned(parts: Parts, lessons: Iterable[Lesson], runs: Path) -> Digits:
    """The held-out digits, with the scores and digests of those that are registered."""
    known = {one.version: one.digest for one in lessons if one.digest}
    scored = {name: scores(runs / name / WEIGHTS, parts.held_out_images) for name in known}
    return Digits(parts.held_out_images, parts.held_out_labels, scored, known)


def scores(weights: Path, images: Images) -> Images:
    """[n, 10], of the perceptron with these weights."""
    tensors = load_file(weights)
    numbers = sorted(int(one[1]) for name in tensors if (one := _WEIGHT.fullmatch(name)))
    hidden = images / np.float32(BRIGHTEST)
    for number in numbers:
        hidden = hidden @ tensors[f"layers.{number}.weight"].T + tensors[f"layers.{number}.bias"]
        if number != numbers[-1]:
            hidden = np.maximum(hidden, 0)
    shares = np.exp(hidden - hidden.max(axis=1, keepdims=True))
    found: Images = shares / shares.sum(axis=1, keepdims=True)
    return found


_WEIGHT = re.compile(r"layers\.(\d+)\.weight")
