"""Where and with what a sitting ran: processor, memory, kernel, versions, commit, how busy it was."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from benchmarks.broker import Broker
from benchmarks.environments import ROOT

LIBRARIES = (
    "aiokafka",
    "confluent-kafka",
    "faust-streaming",
    "numpy",
    "onnxruntime-gpu",
    "onnxruntime",
    "orjson",
    "uvloop",
)


def describe(broker: Broker | None) -> dict[str, Any]:
    """For the head of a report and for its JSON; names no host."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": _versions(),
        "commit": commit(),
        "load_average": [round(one, 2) for one in os.getloadavg()],
        **({"kafka": broker.version(), "kafka_settings": broker.settings()} if broker else {}),
    }


def headline(machine: dict[str, Any]) -> str:
    """One line of it."""
    kafka = f", Kafka {machine['kafka']} on the same machine" if "kafka" in machine else ""
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['kernel']}, Python {machine['python']}{kafka}, "
        f"commit {machine['commit']}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # one of the two builds of onnxruntime is always absent
    return found


def commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
