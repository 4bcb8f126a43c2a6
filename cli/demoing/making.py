"""Makes the demo's two versions of its model: trained, inspected, signed, registered.

    python -m chimera.cli.demoing.making FOLDER
      FOLDER/versions/1, 2   weights, samples, manifest: what is registered
      FOLDER/digits.npz      what neither saw in training: images, labels, each version's own scores
      FOLDER/digests.json    by version, as results name them
      FOLDER/digit.json      one image, for `chimera infer`

Version 2 learned from shuffled labels: it computes what it says, so it will be verified, and what it
says is worthless. A process of its own, because torch takes longer to load than everything else; both
versions share it. It begins to register when FOLDER/registry.ready is there, and says what it does in
lines on standard output (`maker.py` reads them). `tests/cli/demoing/test_demo.py` runs it.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace

from chimera.cli.demoing import digits
from chimera.cli.demoing.maker import READY_FILE, REGISTERED, TRAINED, line
from chimera.cli.demoing.requests import GOOD, WORSE
from chimera.cli.models.actor import actor
from chimera.cli.models.registering import register
from chimera.schemas.errors import ChimeraError, PostgresUnavailable
from chimera.schemas.settings import Settings, load
from chimera.workers.definitions.mlp import Mlp
from chimera.workers.packing import write_folder

REGISTRY_WITHIN_S = 60.0
POLL_S = 0.02


def make(folder: Path, settings: Settings) -> None:
    """Raises ChimeraError: no scikit-learn, no registry, or a version is refused."""
    torch.set_num_threads(1)  # small matrices: more threads are slower, and not reproducible
    _say(TRAINED, "reading the digits")
    parts = digits.parts()
    _write_sample(folder / "digit.json", parts.held_out_images[0])
    shuffled = np.random.default_rng(digits.SEED).permutation(parts.labels)
    networks: dict[str, Mlp] = {}
    for version, labels in ((GOOD, parts.labels), (WORSE, shuffled)):
        _say(TRAINED, f"version {version}")
        networks[version] = digits.train(parts.images, labels)
    scores = {
        f"scores_{name}": digits.scores(one, parts.held_out_images)
        for name, one in networks.items()
    }
    images, labels = parts.held_out_images, parts.held_out_labels
    np.savez(folder / "digits.npz", images=images, labels=labels, **scores)  # type: ignore[arg-type]  # its other keywords are no arrays
    _await_registry(folder)
    digests: dict[str, str] = {}
    for version, network in networks.items():
        _say(REGISTERED[version], "inspecting, signing")
        manifest = replace(digits.MANIFEST, version=version)
        made = write_folder(folder / "versions" / version, manifest, digits.files(network, images))
        digests[version] = asyncio.run(register(made, settings, actor())).digest
        (folder / "digests.json").write_text(json.dumps(digests))


def _write_sample(file: Path, image: digits.Images) -> None:
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": image.tolist()}
    file.write_text(json.dumps({"inputs": [tensor]}) + "\n", "utf-8")


def _await_registry(folder: Path) -> None:
    until_s = time.monotonic() + REGISTRY_WITHIN_S
    while not (folder / READY_FILE).exists():
        if time.monotonic() > until_s:
            raise PostgresUnavailable(f"no registry within {REGISTRY_WITHIN_S:.0f} s")
        time.sleep(POLL_S)


def _say(stage: str, detail: str) -> None:
    print(line(stage, detail), flush=True)


if __name__ == "__main__":
    try:
        make(Path(sys.argv[1]), load())
    except ChimeraError as error:
        sys.exit(f"making: {error}")
