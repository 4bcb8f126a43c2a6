"""A row of the log, as it rests in the warehouse and in an export."""

from typing import NamedTuple


class Row(NamedTuple):
    """`leaf_hash` and `chain_hash` are columns: what they should be follows from the bodies."""

    log_index: int
    body: bytes  # the leaf's canonical bytes
    leaf_hash: bytes
    chain_hash: bytes
