"""What more nodes and more executors gain, and which process is the limit.

A backlog for each step; `gain` is over the first step of its row (1 node, 1 executor). `cores` is
how many of the machine's cores ours and the broker kept busy together: near the machine's count,
the machine is the limit, and more processes gain nothing.
"""

import statistics

from benchmarks.contenders import Contender, node
from benchmarks.sitting import Report, Sitting, summary
from benchmarks.trial import Trial

STEPS = ((1, 1), (2, 1), (4, 1), (1, 2))  # nodes, executors of each
LIMIT_S = 180.0


def contenders(guarantee: str) -> list[Contender]:
    return [
        Contender(
            f"{nodes} x {executors}",
            guarantee,
            node(guarantee, executors=executors, nodes=nodes),
            ours=True,
        )
        for nodes, executors in STEPS
    ]


def run(sitting: Sitting, *, guarantee: str, requests: int) -> Report:
    """All steps in turn, for all rounds."""

    def one(trial: Trial) -> Report:
        found = trial.throughput(requests, LIMIT_S)
        sitting.say(f"{trial.contender.name}: {found['rps']:,.0f} requests/s")
        return found

    raw, left_out = sitting.play(contenders(guarantee), one)
    rates = {name: [each["rps"] for each in found] for name, found in raw.items() if found}
    first = statistics.median(rates["1 x 1"]) if "1 x 1" in rates else 0.0
    steps = {name: _figures(raw[name], values, first) for name, values in rates.items()}
    head = sitting.head("scaling") | {"guarantee": guarantee, "requests": requests}
    return {**head, "steps": steps, "not_run": left_out, "raw": raw}


def _figures(found: list[Report], rates: list[float], first: float) -> Report:
    used = statistics.median(each["contender_cpu_us"] for each in found)
    broker = statistics.median(each["broker_cpu_us"] for each in found)
    middle = statistics.median(rates)
    return {
        "rps": summary(rates),
        "gain": round(middle / first, 3) if first else 0.0,
        "cpu_us": used,
        "broker_cpu_us": broker,
        "cores": round((used + broker) * middle / 1e6, 2),
        "lost": sum(each["lost"] for each in found),
    }
