"""`chimera watch` beside a real node, and its table on looks made by hand."""

from collections import Counter

import pytest
from rich.console import Console

from chimera.cli.offsets.position import Position
from chimera.cli.watching.scrape import Page
from chimera.cli.watching.table import Look, table
from chimera.topics.producers import Committed
from tests.cli.places import Place, image


def shown(before: Look, now: Look) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table(before, now))
    return captured.get()


def lane(committed: int | None, end: int, *, start: int = 0, partition: int = 0) -> Position:
    found = None if committed is None else Committed(committed)
    return Position("requests", partition, "id", start, end, found)


def look(at_s: float, *positions: Position, page: Page | None = None, members: int = 1) -> Look:
    return Look(at_s, positions, members, page or Page(), has_pages=page is not None)


def test_table_has_lag_and_rate_of_each_lane() -> None:
    text = shown(look(10.0, lane(100, 1_000)), look(12.0, lane(700, 2_000)))
    row = next(line for line in text.splitlines() if "requests " in line and "700" in line)
    assert row.split() == ["requests", "0", "700", "2,000", "1,300", "-", "300"]


def test_table_leaves_out_lanes_that_never_had_anything() -> None:
    text = shown(look(0, lane(None, 0)), look(1, lane(None, 0), lane(None, 5, partition=1)))
    assert "1 lanes where nothing ever was" in text
    assert [line.split()[1] for line in text.splitlines() if "requests " in line] == ["1"]


def test_table_names_a_halted_lane_and_one_that_would_halt() -> None:
    page = Page(halted={("requests", 0)})
    positions = (lane(5, 9), lane(3, 9, start=5, partition=1))
    text = shown(look(0, *positions, page=page), look(1, *positions, page=page))
    assert "halted: see `chimera offsets list`" in text
    assert "removed by retention" in text


def test_table_tells_that_nobody_serves() -> None:
    assert "nobody serves it" in shown(look(0, lane(1, 2)), look(1, lane(1, 2), members=0))


def test_table_has_what_executors_did_between_the_looks() -> None:
    before = Page(outcomes=Counter(ok=100), batches=10, batched=100, transactions=5)
    now = Page(
        outcomes=Counter(ok=300, malformed=2),
        batches=14,
        batched=300,
        compute_s=1.0,
        transactions=15,
        transactions_s=0.05,
        restarts=Counter(crashed=1),
    )
    text = shown(look(0, page=before), look(2, page=now))
    rows = [line.split() for line in text.splitlines()]
    assert ["outcomes", "ok", "300", "100/s"] in rows
    assert ["outcomes", "malformed", "2", "1/s"] in rows
    assert any(row[:2] == ["batches", "50.0"] and "50%" in row for row in rows)
    assert ["transactions", "5.0", "ms", "each", "15", "5/s"] in rows
    assert ["executors", "replaced", "crashed", "1"] in rows


def test_table_names_what_is_paused_broken_and_refused() -> None:
    page = Page()
    page.read(
        'chimera_model_paused{model="digits"} 1.0\n'
        'chimera_model_paused{model="letters"} 0.0\n'
        'chimera_deferred_records{topic="t",partition="0"} 1200.0\n'
        'chimera_breaker_state{model="m",version="7",tier="onnx-cpu",executor="cpu:0:1"} 2.0\n'
        'chimera_breaker_state{model="m",version="7",tier="torch-cpu",executor="cpu:0:1"} 0.0\n'
        'chimera_versions_refused_total{model="m",version="8"} 3.0\n'
    )
    text = shown(look(0, page=Page()), look(1, page=page))
    rows = [line.split() for line in text.splitlines()]
    assert ["breaker", "m", "7", "onnx-cpu", "open", "cpu:0:1"] in rows
    assert any(row[:4] == ["requests", "that", "wait", "1,200"] for row in rows)
    assert any(row[:2] == ["paused", "digits"] for row in rows)
    assert any(row[:6] == ["refused", "by", "executors", "m/8", "3", "times"] for row in rows)
    assert "letters" not in text and "torch-cpu" not in text


def test_table_has_a_row_for_each_shadow() -> None:
    seen = Counter(compared=1_000, disagreed=7, errors=2, dropped=30)
    page = Page(shadows={("digits", "2"): seen, ("words", "7"): Counter(off=1)})
    rows = [line.split() for line in shown(look(0, page=page), look(1, page=page)).splitlines()]
    told = "shadow digits 2 1,000 compared 7 disagreed, 2 errors 30 dropped"
    assert told.split() in rows
    assert any(row[:3] == ["shadow", "words", "7"] and "off:" in row for row in rows)


def test_watch_shows_a_node_once_and_ends(served: Place) -> None:
    asked = served.run("infer", "digits", "--input", "-", text=str(image(1)))
    assert asked.returncode == 0, asked.stderr
    done = served.run("watch", "--once", "--every", "0.2")
    assert done.returncode == 0, done.stderr
    assert "served.inference.requests" in done.stdout
    assert "1 in the group" in done.stdout
    assert "outcomes" in done.stdout
    assert "transactions" in done.stdout


def test_watch_says_which_page_cannot_be_read(served: Place) -> None:
    done = served.run("watch", "--once", "--every", "0.2", "--metrics", "http://127.0.0.1:9/")
    assert done.returncode == 0, done.stderr
    assert "http://127.0.0.1:9/: " in done.stdout


def test_watch_without_a_broker_says_so(served: Place) -> None:
    done = served.run("watch", "--once", "--bootstrap", "127.0.0.1:9")
    assert done.returncode == 1
    assert "chimera watch: no broker answers at 127.0.0.1:9" in done.stderr


@pytest.mark.parametrize("text", ["", 'chimera_lane_halted{topic="t",partition="1"} 1.0\n'])
def test_page_of_two_nodes_adds_up(text: str) -> None:
    page = Page()
    for _ in range(2):
        page.read(text + 'chimera_window_records{topic="t",partition="0"} 3.0\n')
    assert page.windows == {("t", 0): 6}
    assert page.halted == ({("t", 1)} if text else set())


def test_page_of_two_nodes_has_the_revision_that_both_serve() -> None:
    page = Page()
    for revision in (7, 6):
        page.read(f'chimera_model_revision{{model="digits"}} {revision}.0\n')
    assert page.revisions == {"digits": 6}
