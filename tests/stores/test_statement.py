"""Words of a statement: what it asks for, and that nothing hides in texts, comments or quotes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import ClickHouseRefused
from chimera.stores.statement import asked_format, require_harmless

TABLE_FUNCTIONS = frozenset({"file", "url", "numbers", "values"})


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", None),
        ("SELECT 1 FORMAT JSON", "JSON"),
        ("SELECT 1 format Native;\n", "Native"),
        ("SELECT 1 FORMAT CSV SETTINGS max_threads = 1", "CSV"),
        ("SELECT 1 FORMAT CSV -- FORMAT JSON", "CSV"),
        ("SELECT 1 /* FORMAT JSON */", None),
        ("SELECT 'a FORMAT JSON'", None),
        ("SELECT ' FORMAT', 'x' FORMAT TSV", "TSV"),
        ("SELECT format AS JSON FROM t", None),
        ("", None),
    ],
)
def test_format_is_what_stands_last(sql: str, expected: str | None) -> None:
    assert asked_format(sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM numbers(3)",
        "select 'file(', \"file\" FROM t -- file(",
        "SELECT /* url( */ 1;",
        "SELECT $$ file(1) $$, `file` FROM t",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "WITH file AS (SELECT 1) SELECT * FROM file",
        "SELECT 'it''s', 'a\\'; file(', 1",
        "EXPLAIN SELECT 1",
        "SHOW TABLES",
    ],
)
def test_harmless_statement_passes(sql: str) -> None:
    require_harmless(sql, TABLE_FUNCTIONS)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('x')",
        "SELECT * FROM FiLe\n--\n('x')",
        "SELECT * FROM `file`('x')",
        'SELECT * FROM "url" (1)',
        "SELECT 'a\\\\', file(1)",
        "SELECT '''', file(1)",
        'SELECT "a""b", file(1)',
        "SELECT # no comment\n file(1)",
        "SELECT $a$ $b$ $a$, file(1)",
        "SELECT aiGenerate('x')",
        "SELECT 1 INTO OUTFILE 'x'",
        "SELECT 1 UNION ALL SELECT * FROM 'x'",
        "SELECT 1; SELECT 2",
        "INSERT INTO t VALUES (1)",
        "",
        ";",
    ],
)
def test_harmful_statement_is_refused(sql: str) -> None:
    with pytest.raises(ClickHouseRefused):
        require_harmless(sql, TABLE_FUNCTIONS)


@given(st.text(alphabet="'\"`\\$-/*# \nfile(;ax1", max_size=60))
def test_any_text_is_passed_or_refused(text: str) -> None:
    asked_format(text)
    try:
        require_harmless(f"SELECT {text}", TABLE_FUNCTIONS)
    except ClickHouseRefused:
        return
    assert ";" not in text.strip("; \n") or any(mark in text for mark in "'\"`-#/$")
