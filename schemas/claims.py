"""Claim checks: an input whose data rest beside Kafka, named by URL, SHA-256 and size.

In place of `data` the input's parameters hold `claim_url`, `claim_sha256` (lower-case hexadecimal)
and `claim_size` (bytes); what lies there is the tensor's raw binary form. Which URLs may be named is
an allow-list of prefixes, compared as text (`urls.py`). `workers/claims.py` fetches.
`tests/schemas/test_claims.py` tries the ways around.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from chimera.schemas import urls
from chimera.schemas.errors import SchemaInvalid
from chimera.schemas.tensors import Layout, quoted

URL, SHA256, SIZE = "claim_url", "claim_sha256", "claim_size"
MAX_URL = 2_048

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Claim(msgspec.Struct, frozen=True, gc=False):
    """Where the data of the input `name` rest; `size` in bytes, `sha256` in hexadecimal."""

    name: str
    layout: Layout
    url: str
    sha256: str
    size: int


def is_claim(parameters: Mapping[str, object]) -> bool:
    """Whether an input's parameters claim, rightly or not, that its data rest elsewhere."""
    return URL in parameters or SHA256 in parameters or SIZE in parameters


def parse(name: str, layout: Layout, parameters: Mapping[str, object]) -> Claim:
    """Read a claim; says nothing yet about whether its URL may be fetched.

    Raises:
        SchemaInvalid: a part is missing or not what it should be, or the size contradicts the shape.
    """
    url, sha256, size = (parameters.get(part) for part in (URL, SHA256, SIZE))
    if not isinstance(url, str) or not 0 < len(url) <= MAX_URL:
        raise SchemaInvalid(f"{URL} should be a URL of at most {MAX_URL} characters")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise SchemaInvalid(f"{SHA256} should be 64 lower-case hexadecimal digits")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise SchemaInvalid(f"{SIZE} should be a number of bytes")
    if layout.datatype.size and size != layout.size_bytes:
        raise SchemaInvalid(f"{SIZE} is {size}, the shape needs {layout.size_bytes} bytes")
    return Claim(name, layout, url, sha256, size)


def require_allowed(claim: Claim, prefixes: Iterable[str]) -> None:
    """Refuse a URL that is under none of the prefixes; a prefix ends at a `/`, given or not.

    Raises:
        SchemaInvalid: two readers could understand the URL differently, or it is not allowed.
    """
    allowed = [folder(prefix) for prefix in prefixes]
    urls.require_under(claim.url, allowed, f"{URL} {quoted(claim.url)}")


def folder(prefix: str) -> str:
    """An allowed prefix as URLs have to begin: with the `/` that ends it. Raises ConfigurationError."""
    return urls.folder(prefix, "CLAIM_PREFIXES")
