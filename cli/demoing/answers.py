"""Questions of `docs/analytics.md`, asked over the warehouse's HTTP interface as any client of ClickHouse does.

`tests/cli/demoing/test_answers.py` finds each of them on that page.
"""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass

from chimera.cli.demoing.failure import DemoFailed

WITHIN_S = 60.0
QUESTIONS = {
    "Which version answered, from when to when?": (
        "SELECT model, version, substring(digest, 1, 12) AS digest, requests, errors, first_at,"
        " last_at, tiers\nFROM served_by_version ORDER BY model, first_at"
    ),
    "What fails, of which model, and since when?": (
        "SELECT day, model, version, code, errors, round(100 * share, 2) AS percent, first_at,"
        " last_at\nFROM errors_by_code ORDER BY day DESC, errors DESC"
    ),
    "How did training runs go?": (
        "SELECT run_id, min(appended_at) AS began, max(appended_at) AS last_heard, argMax(event,"
        " events_offset) AS last_event, min(loss) AS best_loss\nFROM training_log GROUP BY run_id"
        " ORDER BY began DESC"
    ),
    "What does the audit log hold, and how much of it is signed?": (
        "SELECT leaf, count() AS leaves, (SELECT max(size) FROM audit_checkpoints) AS signed_up_to"
        " FROM audit_log GROUP BY leaf"
    ),
}


@dataclass(frozen=True, slots=True)
class Answer:
    question: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def ask(address: str, question: str, sql: str) -> Answer:
    """One of them, or another.

    Raises:
        DemoFailed: the warehouse does not answer, or refuses; says what it said.
    """
    try:
        with urllib.request.urlopen(
            f"{address}/?default_format=JSONCompact", sql.encode(), timeout=WITHIN_S
        ) as told:
            found = json.load(told)
    except urllib.error.HTTPError as error:
        with error:
            raise DemoFailed(f"{question}: {error.read().decode('utf-8', 'replace')}") from None
    except (OSError, ValueError) as error:
        raise DemoFailed(f"{question}: {error}") from None
    names = tuple(one["name"] for one in found["meta"])
    return Answer(question, names, tuple(tuple(map(_text, row)) for row in found["data"]))


def ask_all(address: str) -> tuple[Answer, ...]:
    """Raises as `ask`."""
    return tuple(ask(address, question, sql) for question, sql in QUESTIONS.items())


def _text(value: str | float | list[str]) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
