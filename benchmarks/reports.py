"""Where a benchmark's raw figures go: a file, or `docs/results/`, with the command that made them.

`python -m benchmarks.loading`, `dispatching` and `startup` write theirs so.
"""

import argparse
from pathlib import Path
from typing import Any

import orjson

from benchmarks.environments import ROOT

RESULTS = ROOT / "docs" / "results"


def add_options(parser: argparse.ArgumentParser, kind: str) -> None:
    parser.add_argument("--json", type=Path, help="a file for the report")
    parser.add_argument("--save", action="store_true", help=f"keep it as docs/results/{kind}.json")


def write(report: dict[str, Any], kind: str, options: str, given: argparse.Namespace) -> None:
    """`options`: of the command, as they were given."""
    report["command"] = f"python -m benchmarks.{kind} --save {options}"
    encoded = orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n"
    if given.json:
        given.json.write_bytes(encoded)
    if given.save:
        (RESULTS / f"{kind}.json").write_bytes(encoded)
