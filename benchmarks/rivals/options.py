"""What every rival is told: addresses, topics, group, model, its share of partitions, a time limit.

Imported by rivals that run in environments of their own, so it needs the standard library alone.
"""

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    bootstrap: str
    requests: str  # topic to read
    results: str  # topic to write
    group: str
    model: str  # path of the ONNX file
    partitions: int
    share: tuple[int, int]  # (i, n): the i-th of n processes; it takes every n-th partition
    limit_s: float  # ends by itself after this long
    rest: dict[str, str]  # what only one rival knows, given as --set name=value

    @property
    def mine(self) -> list[int]:
        """The partitions of this process."""
        index, processes = self.share
        return [number for number in range(self.partitions) if number % processes == index]


def parse() -> Options:
    """Read the command line; `arguments()` in `benchmarks.contenders` writes it."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "requests", "results", "group", "model"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--share", default="0/1")
    parser.add_argument("--limit-s", type=float, default=900.0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    given = vars(parser.parse_args())
    index, _, processes = str(given.pop("share")).partition("/")
    pairs = (pair.partition("=") for pair in given.pop("set"))
    return Options(
        **given,
        share=(int(index), int(processes)),
        rest={name: value for name, _, value in pairs},
    )
