"""What the tiers are worth on this machine: the digits' perceptron and a small transformer encoder.

    python -m benchmarks.tiers [--save] [--seconds 3] [MODEL ...]

One table a model; the rival beside us is torch eager, measured in the same turns. With --save each
report is kept as docs/results/tiers-<model>.json, which `chimera models bench` shows again.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

import argparse
import os
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import torch
from rich.console import Console
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors
from torch import nn

from benchmarks.environments import ROOT
from benchmarks.machine import commit
from benchmarks.perceptron import MANIFEST, SAMPLES, train
from chimera.cli.demoing import digits
from chimera.cli.models import tier_table
from chimera.schemas.compile_report import CompileReport, Step
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.model_settings import CompilingSettings
from chimera.schemas.tensors import Array
from chimera.workers.compiling.pipeline import Targets, compile
from chimera.workers.definitions.encoder import Encoder
from chimera.workers.dispatching.choice import choose
from chimera.workers.models import write_model

SIZES = (1, 32, 256)
ALLOWED = ("chimera.workers.definitions.mlp:Mlp", "chimera.workers.definitions.encoder:Encoder")


def write_digits(models_dir: Path) -> Path:
    """The demo's network, trained; its samples are what it never saw."""
    images, labels = digits.digits()
    network = train(images[:1200], labels[:1200])
    return _write(models_dir, MANIFEST, network, {"image": images[1200:]})


def write_encoder(models_dir: Path) -> Path:
    """Two layers of width 64 over 32 tokens, with weights as they come: speed does not mind."""
    torch.manual_seed(0)
    tokens = np.random.default_rng(0).integers(0, 1000, (256, 32))
    manifest = Manifest(
        "encoder",
        "1",
        (TensorSpec("tokens", "INT64", (-1, 32)),),
        (TensorSpec("scores", "FP32", (-1, 10)),),
        "0" * 64,
        definition="chimera.workers.definitions.encoder:Encoder",
        samples=SAMPLES,
    )
    return _write(models_dir, manifest, Encoder(), {"tokens": tokens})


MODELS = {"digits": write_digits, "encoder": write_encoder}


def _write(
    models_dir: Path, manifest: Manifest, module: nn.Module, samples: dict[str, Array]
) -> Path:
    arrays = {name: np.ascontiguousarray(array) for name, array in samples.items()}
    return write_model(
        models_dir, save_tensors(module.state_dict()), manifest, {SAMPLES: save_arrays(arrays)}
    )


def run(model: str, seconds: float, console: Console) -> CompileReport:
    def tell(step: Step) -> None:
        console.print(f"{step.variant}: {step.stage} {step.detail}", style="dim", highlight=False)

    settings = CompilingSettings(batch_sizes=SIZES, measure_s=seconds)
    with tempfile.TemporaryDirectory(prefix="chimera-tiers-") as work:
        folder = MODELS[model](Path(work) / "models")
        targets = Targets(max_rows=SIZES[-1], definitions=ALLOWED)
        return compile(folder, targets, Path(work) / "out", settings, tell)


def save(report: CompileReport, command: str) -> None:
    """The report, and what is needed to make it again; readers of reports ignore that."""
    fields = {
        "kind": "tiers",
        "command": command,
        "commit": commit(),
        "load_average": [round(one, 2) for one in os.getloadavg()],
        "chosen": {str(rows): choose(report, (rows,))[0].variant for rows in SIZES},
        **msgspec.to_builtins(report),
    }
    path = ROOT / "docs" / "results" / f"tiers-{report.model}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--save", action="store_true", help="keep the reports in docs/results/")
    parser.add_argument("--seconds", type=float, default=3.0, help="a tier, a batch size")
    given = parser.parse_args()
    for model in given.models or MODELS:
        report = run(model, given.seconds, Console(stderr=True))
        tier_table.show(report, Console())
        if given.save:
            save(report, f"python -m benchmarks.tiers --save --seconds {given.seconds:g} {model}")


if __name__ == "__main__":
    main()
