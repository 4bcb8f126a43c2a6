"""Fetching claim checks: tensors that rest beside Kafka, verified before anybody uses them.

Only URLs under the allowed prefixes are opened, at most as many bytes as the claim says (and the
limit allows) are read, and they count only if their SHA-256 is the claimed one. HTTP redirects are
not followed and a local path is resolved first, so a link cannot lead out of its prefix. A fetch
that takes too long is abandoned to its thread. `tests/workers/test_claims.py` fetches from a
folder, from memory and over HTTP.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# (fsspec ships no type information)

import hashlib
import os
import threading
import time
from collections.abc import Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import IO
from urllib.parse import urlsplit

from chimera.schemas.claims import Claim, folder, require_allowed
from chimera.schemas.errors import BackendUnavailable, RequestError, SchemaInvalid, TooLarge
from chimera.schemas.inference import Request, settle
from chimera.schemas.tensors import quoted

READ_BYTES = 1 << 20


class Claims:
    """What one executor may fetch.

    `prefixes`: of fsspec URLs; `max_bytes`: of one request's claims together; `timeout_s`: for all
    of one request's claims.
    """

    def __init__(self, prefixes: Iterable[str], max_bytes: int, timeout_s: float) -> None:
        self._prefixes = [folder(prefix) for prefix in prefixes]
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    def settle(self, request: Request) -> Request:
        """The request with its claims' data in place; the same one if it has none.

        Raises:
            SchemaInvalid: a URL is not allowed, nothing is there, or it is not what was claimed.
            TooLarge: the claims are over the limit.
            BackendUnavailable: the storage did not answer, or not in time.
            Malformed: the data are no tensor of BYTES.
        """
        if not request.claims:
            return request
        size = sum(claim.size for claim in request.claims)
        if size > self._max_bytes:
            raise TooLarge(f"the claims have {size} bytes, the limit is {self._max_bytes}")
        deadline = time.monotonic() + self._timeout_s
        fetched: dict[str, bytes] = {}
        for claim in request.claims:
            try:
                require_allowed(claim, self._prefixes)
                fetched[claim.name] = self._fetch(claim, deadline)
            except RequestError as error:
                raise type(error)(f"input {quoted(claim.name)}: {error}") from None
        return settle(request, fetched)

    def _fetch(self, claim: Claim, deadline: float) -> bytes:
        data = self._within(claim, deadline)
        if len(data) != claim.size:
            more = "more than " if len(data) > claim.size else ""
            raise SchemaInvalid(f"{more}{min(len(data), claim.size)} bytes, {claim.size} claimed")
        if hashlib.sha256(data).hexdigest() != claim.sha256:
            raise SchemaInvalid("the bytes do not have the claimed SHA-256")
        return data

    def _within(self, claim: Claim, deadline: float) -> bytes:
        """Read in a thread of its own: no file system of fsspec has a time limit that holds."""
        found: SimpleQueue[bytes | RequestError] = SimpleQueue()
        reader = threading.Thread(
            target=lambda: found.put(_read(claim, self._prefixes, deadline)), daemon=True
        )
        reader.start()
        try:
            data = found.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            raise BackendUnavailable("the storage did not answer in time") from None
        if isinstance(data, RequestError):
            raise data
        return data


def _read(claim: Claim, prefixes: Sequence[str], deadline: float) -> bytes | RequestError:
    """All bytes that are there, but at most one more than claimed."""
    import fsspec  # type: ignore[import-untyped]  # here: 0.2 s that only claims should cost

    try:
        if claim.url.startswith("file://"):
            _require_inside(claim.url, prefixes)
        options = {"allow_redirects": False} if claim.url.startswith("http") else {}
        system, path = fsspec.core.url_to_fs(claim.url)
        with system.open(path, "rb", **options) as file:
            return _read_at_most(file, claim.size + 1, deadline)
    except RequestError as error:
        return error
    except FileNotFoundError:
        return SchemaInvalid("there is nothing at the claimed URL")
    except Exception as error:  # noqa: BLE001  # a storage's client may raise anything
        return BackendUnavailable(f"the storage failed: {type(error).__name__}: {error}")


def _read_at_most(file: IO[bytes], limit: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < limit and time.monotonic() < deadline:
        part = file.read(min(READ_BYTES, limit - len(data)))
        if not part:
            break
        data += part
    return bytes(data)


def _require_inside(url: str, prefixes: Sequence[str]) -> None:
    """Refuse a local file that a link has put below a prefix.

    Raises:
        SchemaInvalid: it lies elsewhere.
    """
    real = os.path.realpath(urlsplit(url).path)
    allowed = [
        os.path.realpath(urlsplit(prefix).path) for prefix in prefixes if url.startswith(prefix)
    ]
    if not any(os.path.commonpath((real, place)) == place for place in allowed):
        raise SchemaInvalid("a link leads out of the allowed prefix")
