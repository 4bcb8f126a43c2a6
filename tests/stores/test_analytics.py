"""docs/analytics.md: each of its questions, asked as a reader of real rows."""

import re
from pathlib import Path

import pytest

from chimera.schemas.signing import new_key
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.schemas.transparency.merkle import leaf_hash, root
from chimera.stores import audit_checkpoints, audit_log, inference_log, model_log, training_log
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.readers import Question, ReaderLimits, Readers
from chimera.stores.sink import Sink
from chimera.stores.source import Destination, Record
from chimera.stores.warehouse_views import VIEWS
from tests.stores.audit_records import AT_MS, ORIGIN, body, leaf_record
from tests.stores.sink_records import APART, SIZE, record
from tests.stores.test_model_log import GOLDEN
from tests.stores.training_records import training_record

PAGE = (Path(__file__).parents[2] / "docs" / "analytics.md").read_text("utf-8")
QUESTIONS = re.findall(
    r"^### (\d+)\. ([^\n]+\?)\n\n```sql\n(.+?)```", PAGE, re.MULTILINE | re.DOTALL
)
LEAVES = 21
REPEATING = 900_001  # a lane that served at least once, and a segment of it again


def fill(engine: ClickHouse, to: Destination, records: list[Record]) -> None:
    sink = Sink(engine, to)
    sink.resume(records[0].partition)
    for one in records:
        sink.add(one)
    sink.flush(all=True)


@pytest.fixture(scope="module")
def readers(engine: ClickHouse, engine_folder: Path) -> Readers:
    """Of tables with rows of every kind."""
    part = 900_000
    for table in ("audit_log", "audit_checkpoints"):
        engine.command(f"TRUNCATE TABLE chimera.{table}")
    engine.command("DELETE FROM chimera.sink_batches WHERE sink LIKE 'audit%'")
    fill(engine, inference_log.LOG, [record(part, number) for number in range(10)])
    again = record(REPEATING, 3, "at_least_once")._replace(offset=5 * APART)
    lane = [record(REPEATING, number, "at_least_once") for number in range(5)]
    fill(engine, inference_log.LOG, [*lane, again])
    events = GOLDEN.read_bytes().splitlines()
    fill(
        engine,
        model_log.LOG,
        [Record(part, offset, AT_MS, value) for offset, value in enumerate(events)],
    )
    fill(engine, training_log.LOG, [training_record(part, number) for number in range(3)])
    fill(engine, audit_log.destination(), [leaf_record(number) for number in range(LEAVES)])
    head = Checkpoint(ORIGIN, LEAVES, root([leaf_hash(body(at)) for at in range(LEAVES)]))
    note = checkpoints.sign(head, new_key()).encode()
    fill(engine, audit_checkpoints.LOG, [Record(0, 0, AT_MS, note)])
    return Readers(engine_folder, ReaderLimits(), 1)


def asked(readers: Readers, sql: str) -> list[list[str]]:
    with readers.opened(Question(sql)) as reader:
        lines = reader.whole().body.decode().splitlines()
    return [line.split("\t") for line in lines]


def test_page_has_its_questions_in_order() -> None:
    assert [int(number) for number, _, _ in QUESTIONS] == list(range(1, len(QUESTIONS) + 1))
    assert len(QUESTIONS) >= 20
    assert PAGE.count("```sql") == len(QUESTIONS)
    assert all(name in "".join(sql for _, _, sql in QUESTIONS) for name in VIEWS)


@pytest.mark.parametrize(
    "sql", [sql for _, _, sql in QUESTIONS], ids=[name for _, name, _ in QUESTIONS]
)
def test_question_has_an_answer(readers: Readers, sql: str) -> None:
    assert asked(readers, sql)


def test_root_is_the_signed_one(readers: Readers) -> None:
    (sql,) = (sql for _, name, sql in QUESTIONS if "signed root" in name)
    ((size, _, is_signed),) = asked(readers, sql)
    assert (int(size), is_signed) == (LEAVES, "1")


ROWS = ("requests", "slowest_requests")  # not counted by
ROWS_OF = {"errors_by_code": "outcome != 'ok'", "latency_by_model": "outcome = 'ok'"}


@pytest.mark.parametrize("name", [name for name in VIEWS if name not in ROWS])
def test_view_counts_each_request_once(readers: Readers, name: str) -> None:
    what = "errors" if name == "errors_by_code" else "requests"
    ((seen,),) = asked(readers, f"SELECT sum({what}) FROM {name}")
    where = ROWS_OF.get(name, "1")
    ((there, repeated),) = asked(
        readers,
        f"SELECT count(), countIf(partition = {REPEATING}) - uniqExactIf(offset, partition = {REPEATING})"
        f" FROM inference_log WHERE {where}",
    )
    assert int(repeated) > 0
    assert int(seen) == int(there) - int(repeated) > 0


def test_repeat_is_told_from_what_it_repeats(readers: Readers) -> None:
    found = asked(
        readers,
        f"SELECT journal_offset, count() FROM requests WHERE is_repeat AND partition = {REPEATING} GROUP BY 1",
    )
    assert found == [[str(5 * APART), str(SIZE)]]
    ((rows, there),) = asked(
        readers, "SELECT count(), (SELECT count() FROM inference_log) FROM requests"
    )
    assert rows == there
