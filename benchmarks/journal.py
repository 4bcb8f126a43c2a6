"""What the journal costs: a row in an executor, and the spine's throughput with and without it.

    python -m benchmarks.journal                       a row's time, one core, no Kafka
    python -m benchmarks.journal --rounds 5 --spine    a sitting of the three, in turns

Rows are of a block of 512 plain requests of 1.3 kB. Times are processor time, the best of many
repetitions; of the spine, compare requests/s and CPU of one sitting only.
"""

import argparse
import json
import secrets
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import model, tables, throughput
from benchmarks.broker import Broker
from benchmarks.contenders import Contender, node
from benchmarks.cost import cost_us
from benchmarks.load import Requests
from benchmarks.sitting import Sitting
from chimera.cli.kafka.server import EmbeddedKafka
from chimera.schemas.columns import constant
from chimera.schemas.commitments import KEY_BYTES, Commitments
from chimera.schemas.journal_rows import read_part
from chimera.schemas.responses import Plain
from chimera.schemas.work import BatchStory, Work
from chimera.workers.ledger import Pages, group_of

BLOCK = 512
STORY = BatchStory("digits", "1", "0" * 64, "onnx-cpu", 256, 900, executor="cpu:0")
APPENDED_MS = 1_700_000_000_000
IDS = [b"%d" % (1_000_000 + at) for at in range(BLOCK)]
REPEATS, NUMBER = 50, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spine", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=300_000)
    parser.add_argument("--executors", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where the sitting's report goes")
    given = parser.parse_args()
    if given.spine:
        spine(given.rounds, given.requests, given.executors, given.json)
    else:
        Console().print(rows())


def rows() -> Table:
    """Microseconds a request, and what its row takes in the topic."""
    values = [Requests().value(number) for number in range(BLOCK)]
    answers = [value[:250] for value in values]
    table = Table("what", "us a request", "bytes a row", title="the journal, processor time")
    commitments = Commitments(secrets.token_bytes(KEY_BYTES))
    for name, keys in (("row", None), ("row with commitments", commitments)):
        part = _pages(values, answers, keys)[4:]
        made_us = _cost_us(partial(_pages, values, answers, keys))
        table.add_row(name, f"{made_us:.3f}", f"{len(part) / BLOCK:.1f}")
        table.add_row(f"{name}, read", f"{_cost_us(partial(read_part, part)):.3f}", "")
    return table


def _pages(values: list[bytes], answers: list[bytes], keys: Commitments | None) -> bytes:
    offsets: Sequence[int] = range(BLOCK)
    work = Work(1, "t", 0, offsets, values, [-1] * BLOCK, [0] * BLOCK, {}, 0)
    pages = Pages(work, list(map(len, values)), constant(APPENDED_MS, BLOCK), keys)
    half = BLOCK // 2
    for part in (range(half), range(half, BLOCK)):
        mine = slice(part.start, part.stop)
        pages.add(part, group_of(STORY, 1_000, 3_000), IDS[mine], Plain.of(answers[mine]))
    return pages.parts([0] * half + [1] * half)


def _cost_us(work: Callable[[], object]) -> float:
    return cost_us(work, repeats=REPEATS, number=NUMBER) / BLOCK


def spine(rounds: int, requests: int, executors: int, out: Path | None) -> None:
    """The node as it is, with a journal, and with a journal that commits."""
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="chimera-bench-") as folder,
        EmbeddedKafka() as broker,
    ):
        work = Path(folder)
        model.write(work / "models")
        key = work / "keys" / "default.key"
        key.parent.mkdir()
        key.write_bytes(secrets.token_bytes(KEY_BYTES))
        key.chmod(0o600)
        sitting = Sitting(
            Broker(broker.bootstrap), work / "models", work, rounds, Console(stderr=True).print
        )
        journal = {"CHIMERA_JOURNAL__ENABLED": "1", "CHIMERA_JOURNAL__KEYS_DIR": str(work / "no")}
        ways = {
            "exactly_once": {},
            "journal": journal,
            "journal, commits": journal | {"CHIMERA_JOURNAL__KEYS_DIR": str(key.parent)},
        }
        contenders = [
            Contender(
                name,
                "exactly once",
                node("exactly_once", executors=executors, more=more),
                ours=True,
            )
            for name, more in ways.items()
        ]
        report = throughput.run(sitting, contenders, requests)
        tables.show(report, console)
        if out is not None:
            out.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
