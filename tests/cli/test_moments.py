"""Moments as people say them."""

import pytest
import typer

from chimera.cli.models.moments import moment_ms, seconds

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("90s", NOW_MS - 90_000),
        ("15m", NOW_MS - 900_000),
        ("1h", NOW_MS - 3_600_000),
        ("7d", NOW_MS - 7 * 86_400_000),
        ("99999d", 0),
        ("1970-01-01T00:00:01", 1_000),
        ("1970-01-01T01:00:01.5+01:00", 1_500),
    ],
)
def test_moment_is_so_long_ago_or_a_time(text: str, at_ms: int) -> None:
    assert moment_ms(text, NOW_MS) == at_ms


@pytest.mark.parametrize("text", ["", "1", "h", "1w", "-1h", "yesterday", "1.5h"])
def test_text_that_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        moment_ms(text, NOW_MS)
    with pytest.raises(typer.BadParameter):
        seconds(text)
