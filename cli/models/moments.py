"""A moment as people say it: so long ago (`90s`, `15m`, `1h`, `7d`), or a time in ISO 8601.

A time without a zone is UTC. `tests/cli/test_moments.py`.
"""

import re
from datetime import UTC, datetime, timedelta

import typer

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONG_AGO_S = 3_000_000_000  # before the epoch, whenever now is
_AGO = re.compile(r"(\d{1,9})([smhd])")


def seconds(text: str) -> int:
    """Of a span of time. Raises BadParameter: it is none."""
    found = _AGO.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no span of time: 90s, 15m, 1h or 7d, for one")
    return int(found[1]) * _SECONDS[found[2]]


def moment_ms(text: str, now_ms: int) -> int:
    """Since the epoch, which it is not before. Raises BadParameter: it is neither."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    return max(0, int(moment(text, now).timestamp() * 1000))


def moment(text: str, now: datetime) -> datetime:
    """Raises BadParameter: it is neither."""
    if _AGO.fullmatch(text):
        return max(_EPOCH, now - timedelta(seconds=min(seconds(text), _LONG_AGO_S)))
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time: 2026-01-31T12:00:00Z, or 1h for an hour ago"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
