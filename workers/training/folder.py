"""What lies in a run's folder, by name; `run.py` draws it. `tests/workers/training/test_run.py`."""

from pathlib import Path

from chimera.schemas.model_names import DEFAULT_TENANT

DATA, LAYOUT = "data", "prepared.json"  # the prepared data set; what it is, written last
SIDES = ("train", "validation")
CONFIG, STATISTICS = "config.json", "statistics.json"
METRICS = "metrics.jsonl"
MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
OTHER_TENANTS = ".tenants"  # in the folder of runs: those of `default` lie there themselves


def runs_of(folder: Path, tenant: str) -> Path:
    """Where a tenant's runs lie, in the folder of all runs."""
    runs = folder.expanduser().absolute()
    return runs if tenant == DEFAULT_TENANT else runs / OTHER_TENANTS / tenant
