"""Dead letters for people, and for programs: a table, one as a whole, JSON. `tests/cli/test_dlq.py`."""

import heapq
import json
from datetime import UTC, datetime
from typing import Any

import typer

from chimera.agents.redriving.letters import letter_at, letters
from chimera.agents.redriving.redrive import Redrive, Wish
from chimera.schemas.transparency.leaves import ActionTaken
from chimera.topics.redrives import Letter

MAX_SHOWN = 4_000  # characters of a value
Fields = dict[str, Any]


async def listed(redrive: Redrive, wish: Wish, limit: int) -> list[Fields]:
    """The newest so many that the wish names, the newest last."""
    known = await redrive.replays()
    newest: list[tuple[int, str, Fields]] = []
    async for letter in letters(redrive.consumer, redrive.dead, wish.since_ms):
        if wish.takes(letter):
            fields = _fields(letter, known.get(redrive.identity(letter)))
            one = (letter.written_ms, letter.name, fields)
            if len(newest) < limit:
                heapq.heappush(newest, one)
            else:
                heapq.heappushpop(newest, one)
    return [fields for _, _, fields in sorted(newest, key=lambda one: one[:2])]


async def whole(redrive: Redrive, partition: int, offset: int) -> Fields | None:
    """One, with key, value and headers."""
    letter = await letter_at(redrive.consumer, redrive.dead, partition, offset)
    if letter is None:
        return None
    known = await redrive.replays()
    original = letter.original
    return _fields(letter, known.get(redrive.identity(letter))) | {
        "attempt": letter.failure.attempt,
        "first_failure": _time(letter.failure.first_failure_ms),
        "key": _text(original.key),
        "headers": [[name, _text(value)] for name, value in original.headers],
        "value": _text(original.value) if letter.is_whole else None,
    }


def show_all(found: list[Fields], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("partition", "offset", "written", "request", "code", "replayed", box=None)
    table.add_column("message", overflow="fold")
    for one in found:
        by = one["replayed"]["actor"] if one["replayed"] else ""
        names = ("partition", "offset", "written", "request", "code")
        table.add_row(*(str(one[name]) for name in names), by, one["message"])
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 400
    console.print(table if found else "no dead letters")


def show_one(found: Fields, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        if name == "headers":
            for key, text in value:
                typer.echo(f"header    {key}: {_cut(text)}")
        elif name == "replayed":
            told = f"{value['at']} by {value['actor']}" if value else "never"
            typer.echo(f"{name:9} {told}")
        else:
            typer.echo(f"{name:9} {_cut(value)}")


def _fields(letter: Letter, event: ActionTaken | None) -> Fields:
    by = {"at": _time(event.at_ms), "actor": event.actor, "reason": event.reason} if event else None
    return {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "written": _time(letter.written_ms),
        "request": letter.request,
        "code": letter.failure.code,
        "message": letter.failure.message,
        "replayed": by,
    }


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "backslashreplace")


def _cut(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… {len(text)} characters"
