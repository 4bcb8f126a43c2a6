"""What lies in a run's folder, by name; `run.py` draws it. `tests/workers/training/test_run.py`."""

CONFIG, STATISTICS = "config.json", "statistics.json"
METRICS = "metrics.jsonl"
MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
