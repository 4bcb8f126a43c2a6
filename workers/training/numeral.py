"""A number as people write it: 7 for 7.0, and all digits that tell it from any other.

It names a category, a slice and a wrong value. `tests/workers/training/test_rows.py`.
"""


def numeral(value: float) -> str:
    return repr(value + 0.0).removesuffix(".0")  # -0.0 + 0.0 is 0.0
