"""Blocks that the engine reads back: every kind of column, values at their types' ends."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chimera.schemas.columns import Columns, Texts, constant, pack_texts
from chimera.schemas.columns import numbers as column
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.native_block import Chunk, block, chosen, nullable, numbers, texts

I64 = st.integers(-(2**63), 2**63 - 1)
ROWS = st.lists(
    st.tuples(I64, I64, st.integers(-9, 9), st.binary(max_size=200), st.integers(0, 2)),
    min_size=1,
    max_size=8,
)
COLUMNS = (
    ("a", "Int64"),
    ("b", "UInt16"),
    ("c", "Nullable(Int32)"),
    ("d", "String"),
    ("e", "LowCardinality(String)"),
    ("f", "LowCardinality(String)"),
)
NAMES = ("one", "", "µ" * 100)


def packed(values: list[bytes]) -> Texts:
    """As a part of a segment has them."""
    return Columns(pack_texts(values, 512), len(values)).texts()


@given(st.lists(ROWS, min_size=1, max_size=3))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_block_of_chunks_is_read_back(
    engine: ClickHouse, chunks: list[list[tuple[int, int, int, bytes, int]]]
) -> None:
    engine.command("CREATE DATABASE IF NOT EXISTS chimera")
    engine.command(
        "CREATE OR REPLACE TABLE chimera.blocks"
        " (n UInt64 DEFAULT rowNumberInAllBlocks(), a Int64, b UInt16, c Nullable(Int32),"
        " d String, e LowCardinality(String), f LowCardinality(String))"
        " ENGINE = MergeTree ORDER BY n"
    )
    made = [
        Chunk(
            len(rows),
            [
                numbers("Int64", column([row[0] for row in rows])),
                numbers("UInt16", column([row[1] for row in rows])),
                nullable("Int32", column([row[2] for row in rows]), 0),
                texts(packed([row[3] for row in rows])),
                chosen(NAMES, column([row[4] for row in rows])),
                chosen(("always",), constant(0, len(rows))),
            ],
        )
        for rows in chunks
    ]
    engine.insert("blocks", [name for name, _ in COLUMNS], block(COLUMNS, made), "")
    found = engine.rows("SELECT a, b, c, hex(d), e, f FROM chimera.blocks ORDER BY n")
    expected = [
        (a, int(np.clip(b, 0, 2**16 - 1)), c or None, d.hex().upper(), NAMES[e], "always")
        for rows in chunks
        for a, b, c, d, e in rows
    ]
    assert [tuple(row) for row in found] == expected
