"""A statement of an analyst: the format it asks for, and what of it no reader may have.

A reader's handle changes nothing (`readonly`), but it would still read files and addresses: by table
functions, by functions, by a file's name in a table's place. So whoever serves strangers looks at the
words: a call of any table function that is not known to be harmless is refused, whatever this
release of the engine has. Texts, comments and quoted names are told apart as ClickHouse does it.
`tests/stores/test_statement.py`; what is refused stands in `tests/cli/test_http_refusals.py`.
"""

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chimera.schemas.errors import ClickHouseRefused

HARMLESS = frozenset(
    [
        "format",
        "generate_series",
        "generateseries",
        "generaterandom",
        "merge",
        "null",
        "numbers",
        "numbers_mt",
        "primes",
        "values",
        "view",
        "viewexplain",
        "viewifpermitted",
        "zeros",
        "zeros_mt",
    ]
)
"""Table functions that make rows of themselves, or of tables that the reader may read."""

FORBIDDEN = re.compile(r"file|catboostevaluate|python|eval|ai[a-z]+")
"""Functions that read files, the process that the engine lives in, or ask a service."""

READS = frozenset(
    ["select", "with", "show", "describe", "desc", "exists", "explain", "values", "from"]
)
"""How a statement begins that only reads."""

_TABLES_FOLLOW = frozenset({"from", "join"})
_DESCRIBES = frozenset({"describe", "desc"})
_BEFORE_TABLES = _TABLES_FOLLOW | _DESCRIBES | {"table", ","}
_TABLES_END = frozenset(
    ["select", "where", "prewhere", "group", "having", "window", "qualify", "order", "limit"]
    + ["offset", "fetch", "settings", "union", "except", "intersect", "format"]
)
_WITH_FROM = frozenset({"trim", "extract", "substring"})  # among their arguments is a FROM of SQL's

STREAMED = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"})
"""Formats of which blocks may be joined: nothing is said once for all of them."""

_TOKEN = re.compile(
    r"""
      (?P<gap> \s+ | --[^\n]* | \#[ !][^\n]* | /\*.*?\*/ )
    | (?P<text> '(?:[^'\\]|\\.|'')*' | ‘[^’]*’ | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<name> "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` | “[^”]*” )
    | (?P<word> [^\W\d]\w* )
    | (?P<mark> \w+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)|([`\"])\2", re.DOTALL)


class Token(NamedTuple):
    kind: str  # text, name (quoted), word or mark
    value: str  # lower case, without quotes


def tokens(sql: str) -> Iterator[Token]:
    """Without white space and comments."""
    for found in _TOKEN.finditer(sql):
        kind = found.lastgroup or "mark"
        kind = "text" if kind == "tag" else kind
        if kind == "gap":
            continue
        value = found[0]
        if kind == "name":
            value = _ESCAPED.sub(lambda one: one[1] or one[2], value[1:-1])
        yield Token(kind, value.lower() if kind != "text" else value)


def asked_format(sql: str) -> str | None:
    """What stands behind its last FORMAT, as it was written; None: the client's default."""
    found = [one for one in _TOKEN.finditer(sql) if one.lastgroup != "gap"]
    while found and found[-1][0] == ";":
        found.pop()
    at = len(found) - 2
    while at >= 0:
        if found[at].lastgroup == "word" and found[at][0].lower() == "format":
            rest = found[at + 2 :]
            is_end = not rest or rest[0][0].lower() == "settings"
            return found[at + 1][0] if is_end and found[at + 1].lastgroup == "word" else None
        at -= 1
    return None


def require_harmless(sql: str, table_functions: Collection[str]) -> None:
    """`table_functions`: the engine's, in lower case.

    Raises:
        ClickHouseRefused: it names what reads files, addresses or processes, or is no reading.
    """
    found = list(tokens(sql))
    while found and found[-1] == ("mark", ";"):
        found.pop()
    if ("mark", ";") in found:
        raise _refused("one statement at a time")
    begins = next((one.value for one in found if one.value != "("), "")
    if begins not in READS:
        raise _refused(f"{begins or 'nothing'!r} does not begin a statement that only reads")
    for token, following in zip(found, [*found[1:], Token("mark", "")], strict=True):
        if token.kind not in ("word", "name"):
            continue
        if token == ("word", "into") and following == ("word", "outfile"):
            raise _refused("INTO OUTFILE writes a file")
        is_call = following == ("mark", "(")
        is_known = FORBIDDEN.fullmatch(token.value) or token.value in table_functions
        if is_call and is_known and token.value not in HARMLESS:
            raise _refused(f"{token.value}() is not for readers")
    if _names_a_file(found):
        raise _refused("a text in a table's place is a file")


@dataclass
class _Bracket:
    """What stands between two brackets, or in the whole statement, so far."""

    called: str = ""  # the function whose arguments they are
    tokens: int = 0
    is_query: bool = False
    lists_tables: bool = False


def _names_a_file(found: Sequence[Token]) -> bool:
    """A text stands where a table would: behind FROM or JOIN, or a comma among the tables."""
    inside = [_Bracket()]
    for before, token in itertools.pairwise([Token("mark", ""), *found]):
        here = inside[-1]
        if token.kind == "text" and here.lists_tables and before.value in _BEFORE_TABLES:
            return True
        here.tokens += 1
        if token.kind == "mark" and token.value in "([{":
            inside.append(_Bracket(before.value if before.kind == "word" else ""))
        elif token.kind == "mark" and token.value in ")]}":
            del inside[max(1, len(inside) - 1) :]
        elif token.kind == "word" and token.value in _TABLES_FOLLOW:
            is_argument = here.called in _WITH_FROM and here.tokens > 1 and not here.is_query
            here.lists_tables = not is_argument
        elif token.kind == "word" and token.value in _DESCRIBES and here.tokens == 1:
            here.lists_tables = True
        elif token.kind == "word" and token.value in _TABLES_END:
            here.lists_tables = False
        here.is_query |= token.kind == "word" and token.value in READS
    return False


def _refused(reason: str) -> ClickHouseRefused:
    return ClickHouseRefused(f"Code: 497. DB::Exception: {reason}. (ACCESS_DENIED)")
