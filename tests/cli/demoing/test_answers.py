"""The demo's questions are those of the page, and a warehouse that refuses is heard."""

from pathlib import Path

import pytest

from chimera.cli.demoing.answers import QUESTIONS, ask
from chimera.cli.demoing.failure import DemoFailed

PAGE = (Path(__file__).parents[3] / "docs" / "analytics.md").read_text("utf-8")


@pytest.mark.parametrize("question", QUESTIONS)
def test_question_stands_on_the_page(question: str) -> None:
    _, _, after = PAGE.partition(f". {question}\n\n```sql\n")
    sql, _, _ = after.partition("\n```")
    assert sql == QUESTIONS[question]


def test_warehouse_that_is_not_there_ends_the_demo() -> None:
    with pytest.raises(DemoFailed, match="how many: "):
        ask("http://127.0.0.1:9", "how many", "SELECT 1")
