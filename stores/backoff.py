"""How long to wait before the next attempt: longer each time, and never all at once.

Half of a pause is fixed, half is chance, so that clients of a server that comes back do not meet
it together. A function of values; `tests/stores/test_backoff.py`.
"""

FIRST_S = 0.05
MOST_S = 2.0


def pause_s(
    attempts: int, chance: float, first_s: float = FIRST_S, most_s: float = MOST_S
) -> float:
    """Seconds to wait after so many failed attempts (1 or more); `chance` is from [0, 1)."""
    whole = min(most_s, first_s * 2.0 ** min(attempts - 1, 60))
    return whole * (0.5 + 0.5 * chance)
