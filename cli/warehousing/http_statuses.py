"""What ClickHouse's error codes and formats are in HTTP: statuses and content types, as its server has them."""

_STATUSES = {
    400: (6, 25, 26, 27, 36, 38, 41, 49, 53, 62, 72, 117, 167, 168, 223, 321, 427, 456, 457),
    401: (194,),
    403: (164, 192, 193, 497, 516),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336),
    408: (159,),
    501: (48,),
    503: (202,),
}
_STATUS_OF = {code: status for status, codes in _STATUSES.items() for code in codes}

_BINARY = "application/octet-stream"
_TYPES = {
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONCompactEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": _BINARY,
    "RowBinary": _BINARY,
    "RowBinaryWithNamesAndTypes": _BINARY,
    "Parquet": _BINARY,
    "Arrow": _BINARY,
    "ArrowStream": _BINARY,
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNamesAndTypes": "text/tab-separated-values; charset=UTF-8",
}


def status_of(code: int) -> int:
    """Of an exception."""
    return _STATUS_OF.get(code, 500)


def content_type(name: str) -> str:
    """Of a format."""
    return _TYPES.get(name, "text/plain; charset=UTF-8")
