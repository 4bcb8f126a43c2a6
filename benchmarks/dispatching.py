"""What serving through the registry costs: one model, once from the folder of models, once as published.

    python -m benchmarks.dispatching [--rounds 5] [--requests 300000] [--json FILE] [--save]

`folder`: the node serves `models_dir`, one backend, nothing to choose. `registry`: it follows
`models.state`, the version is signed and has two tiers, so each batch goes through dispatcher and
breakers, is observed and counted, and the node tells what it saw. Both compute the same graph with
the same runtime. They take turns (`sitting.py`), and each round is compared with itself: microseconds
of processor time a request of node and executors, which other processes disturb little, and requests
visible a second, which they disturb much.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine, model, reports
from benchmarks.broker import Broker
from benchmarks.contenders import Command, Contender, Place, node
from benchmarks.published import Published
from benchmarks.sitting import Sitting, summary
from benchmarks.trial import Trial
from chimera.cli.kafka.server import EmbeddedKafka
from chimera.schemas.model_state import LiveVersion

FOLDER, REGISTRY = "folder", "registry"
TIERS = ("onnx-cpu", "onnx-cpu-int8")  # of one graph: what is chosen costs what the other would
EXECUTORS = 2
LIMIT_S = 180.0
AIM_PCT = 3.0

Report = dict[str, Any]


def contenders(published: Published) -> list[Contender]:
    version = published.register(model.manifest(), model.build(), TIERS)
    return [
        Contender(FOLDER, "exactly once", node("exactly_once", executors=EXECUTORS), ours=True),
        Contender(REGISTRY, "exactly once", Following(published, version), ours=True),
    ]


class Following:
    """A node's command line; it finds the state of its model on its own topic."""

    def __init__(self, published: Published, version: LiveVersion) -> None:
        self._published, self._version = published, version

    def __call__(self, place: Place) -> list[Command]:
        self._published.say(place, model.NAME, self._version)
        more = self._published.environment
        return node("exactly_once", executors=EXECUTORS, more=more)(place)


def report(raw: dict[str, list[Report]]) -> Report:
    """Of each way its figures; of each round what the registry costs, in percent."""
    pairs = list(zip(raw[FOLDER], raw[REGISTRY], strict=True))
    return {
        "cpu_cost_pct": _costs(pairs, "contender_cpu_us"),
        "throughput_cost_pct": _costs(pairs, "rps"),
        "lost": sum(one["lost"] for found in raw.values() for one in found),
        "repeated": sum(one["repeated"] for found in raw.values() for one in found),
        "ways": {
            name: {
                "cpu_us": summary([one["contender_cpu_us"] for one in found]),
                "rps": summary([one["rps"] for one in found]),
            }
            for name, found in raw.items()
        },
        "raw": raw,
    }


def _costs(pairs: Sequence[tuple[Report, Report]], key: str) -> Report:
    """More time, or fewer requests; negative: it was the better one."""
    sign = -1.0 if key == "rps" else 1.0
    each = [sign * (ours[key] / plain[key] - 1) * 100 for plain, ours in pairs]
    return {
        "median": round(statistics.median(each), 2),
        "rounds": [round(one, 2) for one in each],
    }


def run(rounds: int, requests: int, console: Console) -> Report:
    with (
        tempfile.TemporaryDirectory(prefix="chimera-dispatch-") as folder,
        EmbeddedKafka() as kafka,
    ):
        work = Path(folder)
        model.write(work / "models")
        broker = Broker(kafka.bootstrap)
        sitting = Sitting(broker, work / "models", work, rounds, lambda text: console.print(text))

        def one(trial: Trial) -> Report:
            found = trial.throughput(requests, LIMIT_S)
            sitting.say(f"{found['contender_cpu_us']} us, {found['rps']:,.0f} requests/s")
            return found

        raw, left_out = sitting.play(contenders(Published(work / "published")), one)
        if left_out:
            raise RuntimeError(str(left_out))
        head = sitting.head("dispatching") | {"requests": requests, "tiers": TIERS}
        return {**head, "aim_pct": AIM_PCT, **report(raw)}


def show(found: Report, console: Console) -> None:
    console.print(machine.headline(found["machine"]), highlight=False)
    table = Table("way", "us of processor a request", "spread", "requests/s", "spread")
    for name, figures in found["ways"].items():
        cells = [
            (f"{one['median']:,.2f}", f"{one['spread_pct']:.0f} %")
            for one in (figures["cpu_us"], figures["rps"])
        ]
        table.add_row(name, *cells[0], *cells[1])
    console.print(table)
    for key, what in (("cpu_cost_pct", "processor time"), ("throughput_cost_pct", "throughput")):
        cost = found[key]
        told = f"{what}: {cost['median']:+.1f} % (aim {AIM_PCT:g}), rounds {cost['rounds']}"
        console.print(told, highlight=False)
    console.print(f"lost {found['lost']}, repeated {found['repeated']}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=300_000, help="of a trial")
    reports.add_options(parser, "dispatching")
    given = parser.parse_args()
    found = run(given.rounds, given.requests, Console(stderr=True, style="dim", highlight=False))
    options = f"--rounds {given.rounds} --requests {given.requests}"
    reports.write(found, "dispatching", options, given)
    show(found, Console())


if __name__ == "__main__":
    main()
