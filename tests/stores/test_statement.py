"""Words of a statement: what it asks for, and that nothing hides in texts, comments or quotes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import ClickHouseRefused
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.statement import Token, asked_format, require_harmless, tokens

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
        "SELECT trim(LEADING ' ' FROM '  a')",
        "SELECT TRIM(BOTH concat('x', 'y') FROM 'xyaxy'), 1",
        "SELECT extract(DAY FROM '2026-01-01')",
        "SELECT 'a', 'b' FROM t WHERE x IN ('c', 'd') GROUP BY 'e', 'f'",
        "SELECT (SELECT 1 FROM t), 'x'",
        "SELECT table, 'x' FROM system.parts ORDER BY rows DESC, 'y'",
        "SELECT concat((SELECT max(a) FROM t), 'x'), 'y'",
        "SELECT * FROM t AS a, u WHERE a.x IN ('y', 'z') ORDER BY 'x', 'y'",
        "SELECT * FROM values('a String', 'b', 'c')",
    ],
)
def test_harmless_statement_passes(sql: str) -> None:
    assert refusal(sql) == ""


def refusal(sql: str) -> str:
    """Why a reader may not ask it; empty: he may."""
    try:
        require_harmless(sql, TABLE_FUNCTIONS)
    except ClickHouseRefused as error:
        return str(error)
    return ""


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
        "SELECT * FROM t, 'x'",
        "SELECT * FROM t AS a, (SELECT 1) AS b, 'x' AS c",
        "SELECT * FROM t, numbers(1), 'x'",
        "SELECT (SELECT 1 FROM t, 'x')",
        "FROM t, 'x' SELECT *",
        "SELECT * FROM t JOIN u ON t.a = u.a, 'x'",
        "SELECT trim(LEADING (SELECT a FROM 'x') FROM 'y')",
        "SELECT trim((SELECT a FROM 'x'))",
        "SELECT trim(FROM 'x' SELECT a)",
        "SELECT extract(WITH 1 AS a FROM 'x' SELECT a)",
        "SELECT * FROM t AS a, u AS b, 'x' AS c WHERE 1",
        "DESCRIBE TABLE 'x'",
        "SELECT other(LEADING 'a' FROM 'x')",
        "SELECT 1; SELECT 2",
        "INSERT INTO t VALUES (1)",
        "",
        ";",
    ],
)
def test_harmful_statement_is_refused(sql: str) -> None:
    assert refusal(sql)


WRAPPED = [
    "‘a’,%s,‘b’",
    "‘,%s,’",
    "1 AS “a,%s,b”",
    "$a$,%s,$a$",
    "$a$x$b$,%s,$b$y$a$",
    "$$,%s,$$",
    "$é$,%s,$é$",
    "1 --,%s",
    "1 --x\n,%s",
    "1 --x\r,%s",
    "1 -- \0\n,%s",
    "1 --x\x0b,%s",
    "1 --x\u2028,%s",
    "1 #,%s",
    "1 # ,%s",
    "1 # x\n,%s",
    "1 //,%s",
    "1 /*,%s,*/",
    "1 /* /* */,%s,/* */",
    "'a\\',%s,\\'b'",
    "'a\\\\',%s,'b'",
    "'a'',%s,''b'",
    "1 AS `a\\`,%s,b`",
    "1 AS `a``,%s,``b`",
    '1 AS "a"",%s,""b"',
    "x'41',%s",
]


def test_what_the_engine_calls_is_seen(engine: ClickHouse, tmp_path: Path) -> None:
    """However it is wrapped: where the engine reads the file, the word was found."""
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    called = 0
    for wrapped in WRAPPED:
        sql = "SELECT " + wrapped.replace("%s", f"file('{secret}')")
        try:
            is_read = "hidden" in str(engine.rows(sql))
        except ClickHouseRefused:
            continue
        called += is_read
        assert not is_read or Token("word", "file") in tokens(sql), sql
    assert called >= 5  # else this would show nothing


@given(st.text(alphabet="'\"`\\$-/*# \nfile(;ax1", max_size=60))
def test_any_text_is_passed_or_refused(text: str) -> None:
    asked_format(text)
    try:
        require_harmless(f"SELECT {text}", TABLE_FUNCTIONS)
    except ClickHouseRefused:
        return
    assert ";" not in text.strip("; \n") or any(mark in text for mark in "'\"`-#/$")
