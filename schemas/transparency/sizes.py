"""Sizes of trees, and indexes of leaves, as notes, proofs and headers write them: decimal text.

`tests/schemas/transparency/test_sizes.py`.
"""

import re

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency.merkle import MAX_SIZE

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


def decode_size(text: str, what: str) -> int:
    """A size or an index. Raises EvidenceMalformed: not decimal, leading zeros, past 63 bits."""
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise EvidenceMalformed(f"{what}: {text[:32]!r} is no decimal number below 2^63")
    return int(text)
