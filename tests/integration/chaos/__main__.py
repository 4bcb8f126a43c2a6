"""Campaigns at full size: `python -m tests.integration.chaos [NAME ...] [--smoke] [--seed N]`.

Prints a table, and writes one JSON file a campaign; exits 1 if anything was violated, or a planned fault did not come about.
"""

# pyright: reportMissingTypeStubs=false

import argparse
import json
import platform
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiokafka
import confluent_kafka
import faust

from tests.integration.chaos.broker import Broker
from tests.integration.chaos.campaigns import (
    CAMPAIGNS,
    FULL,
    SMOKE,
    SMOKE_CAMPAIGNS,
    TRAINING,
    Campaign,
    Size,
    TrainingCampaign,
)
from tests.integration.chaos.judge import Verdict


def main() -> int:
    """Run what the command line asks for."""
    campaigns = {one.name: one for one in (*SMOKE_CAMPAIGNS, *CAMPAIGNS, TRAINING)}
    parser = argparse.ArgumentParser(prog="python -m tests.integration.chaos", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(campaigns)}; none: all")
    parser.add_argument("--smoke", action="store_true", help="the small size that the tests run")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(campaigns)
    if unknown:
        parser.error(f"no campaign is called {', '.join(sorted(unknown))}")
    size = SMOKE if chosen.smoke else FULL
    failed = False
    for campaign in [campaigns[name] for name in chosen.names] or (
        *(SMOKE_CAMPAIGNS if chosen.smoke else CAMPAIGNS),
        TRAINING,
    ):
        verdict = _run(campaign, chosen.seed, size)
        _write(chosen.out, campaign, verdict, "smoke" if chosen.smoke else "full")
        failed = failed or bool(verdict.violations or verdict.missed)
    return 1 if failed else 0


def _run(campaign: Campaign | TrainingCampaign, seed: int, size: Size) -> Verdict:
    began = time.monotonic()
    with Broker() as broker:
        verdict = campaign.run(broker, seed, size)
    counts = "  ".join(f"{name} {verdict.counts[name]}" for name in campaign.shown)
    _say(f"{campaign.name:<12} seed {seed}  {time.monotonic() - began:.0f} s  {counts}")
    _say(f"  faults      {_line(verdict.faults)}")
    if verdict.codes:
        took = f"{_line(verdict.recoveries_ms)} ms   latency {_line(verdict.stalls_ms)} ms"
        _say(f"  outcomes    {_line(verdict.codes)}")
        _say(f"  recoveries  {took}")
    _say(f"  violations  {_line(verdict.violations) or 'none'} {list(verdict.unmet) or ''}")
    if verdict.missed:
        _say(f"  not shown   {'; '.join(verdict.missed)}")
    return verdict


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _line(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _write(
    folder: Path, campaign: Campaign | TrainingCampaign, verdict: Verdict, size: str
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    machine: dict[str, Any] = {
        "size": size,
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "aiokafka": aiokafka.__version__,
        "faust": faust.__version__,
        "confluent_kafka": confluent_kafka.__version__,
    }
    told = verdict.as_json()
    told["notes"].pop("folder")  # of this machine alone
    path = folder / f"chaos-{campaign.name}.json"
    path.write_text(json.dumps(machine | told, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
