import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
import pytest

from chimera.schemas.claims import Claim
from chimera.schemas.errors import (
    BackendUnavailable,
    ConfigurationError,
    Malformed,
    RequestError,
    SchemaInvalid,
    TooLarge,
)
from chimera.schemas.inference import Request
from chimera.schemas.tensors import layout
from chimera.workers.claims import Claims

DATA = np.arange(4, dtype="<f4").tobytes()


def request(url: str, data: bytes = DATA, **other: Any) -> Request:
    """A request whose only input rests at a URL, with the claim that `data` is there."""
    fields: dict[str, Any] = {
        "name": "x",
        "layout": layout("FP32", (1, 4)),
        "url": url,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        **other,
    }
    return Request("m", None, "i", {}, claims=(Claim(**fields),))


def claims(*prefixes: str, max_bytes: int = 1_000, timeout_s: float = 10) -> Claims:
    return Claims(prefixes, max_bytes, timeout_s)


def refusal(settled_by: Claims, asked: Request) -> RequestError:
    with pytest.raises(RequestError, match="'x'") as caught:
        settled_by.settle(asked)
    return caught.value


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "claims"
    folder.mkdir()
    (folder / "x").write_bytes(DATA)
    (tmp_path / "secret").write_bytes(DATA)
    return folder


def test_claim_in_a_folder_is_settled(place: Path) -> None:
    settled = claims(f"file://{place}").settle(request(f"file://{place}/x"))
    assert settled.inputs["x"].array.tolist() == [[0.0, 1.0, 2.0, 3.0]]
    assert (settled.id, settled.claims) == ("i", ())


def test_claim_in_memory_is_settled() -> None:
    fsspec.filesystem("memory").pipe("/claims/x", DATA)  # pyright: ignore[reportUnknownMemberType]
    settled = claims("memory://claims").settle(request("memory://claims/x"))
    assert settled.inputs["x"].array.shape == (1, 4)


def test_request_without_claims_is_left_alone() -> None:
    plain = Request("m", None, "i", {})
    assert claims().settle(plain) is plain


def test_claim_outside_the_prefixes_is_refused(place: Path) -> None:
    error = refusal(claims(f"file://{place}"), request(f"file://{place.parent}/secret"))
    assert isinstance(error, SchemaInvalid)
    assert "prefix" in str(error)


def test_claim_behind_a_link_that_leads_out_is_refused(place: Path) -> None:
    (place / "link").symlink_to(place.parent / "secret")
    (place / "folder").symlink_to(place.parent)
    for path in ("link", "folder/secret"):
        error = refusal(claims(f"file://{place}"), request(f"file://{place}/{path}"))
        assert isinstance(error, SchemaInvalid)
        assert "link" in str(error)


def test_claim_of_nothing_is_refused(place: Path) -> None:
    error = refusal(claims(f"file://{place}"), request(f"file://{place}/y"))
    assert isinstance(error, SchemaInvalid)


def test_claim_of_a_folder_is_not_available(place: Path) -> None:
    (place / "z").mkdir()
    error = refusal(claims(f"file://{place}"), request(f"file://{place}/z"))
    assert isinstance(error, BackendUnavailable)


@pytest.mark.parametrize("size", [15, 17])
def test_claim_of_another_size_is_refused(place: Path, size: int) -> None:
    error = refusal(claims(f"file://{place}"), request(f"file://{place}/x", size=size))
    assert isinstance(error, SchemaInvalid)
    assert f"{size} claimed" in str(error)


def test_claim_of_another_hash_is_refused(place: Path) -> None:
    error = refusal(claims(f"file://{place}"), request(f"file://{place}/x", sha256="0" * 64))
    assert isinstance(error, SchemaInvalid)
    assert "SHA-256" in str(error)


def test_claims_over_the_limit_together_are_not_even_fetched() -> None:
    one = request("memory://claims/none").claims[0]
    asked = Request("m", None, None, {}, claims=(one, one))
    with pytest.raises(TooLarge, match="32 bytes"):
        claims("memory://claims", max_bytes=31).settle(asked)


def test_claim_of_bytes_that_do_not_fit_is_malformed(place: Path) -> None:
    (place / "b").write_bytes(b"\2\0\0\0a")
    asked = request(f"file://{place}/b", b"\2\0\0\0a", layout=layout("BYTES", (1,)))
    assert isinstance(refusal(claims(f"file://{place}"), asked), Malformed)


def test_prefix_of_an_unknown_scheme_is_not_available() -> None:
    error = refusal(claims("nosuch://a"), request("nosuch://a/x"))
    assert isinstance(error, BackendUnavailable)


def test_prefix_that_names_no_place_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError):
        claims("file:///")


class Storage(BaseHTTPRequestHandler):
    """Serves DATA at /claims/x; `/claims/away` redirects to /secret, `/claims/slow` says nothing."""

    stopped = threading.Event()
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, body: bool) -> None:
        self.asked.append(self.path)
        if self.path == "/claims/slow":
            self.stopped.wait(20)
        if self.path == "/claims/away":
            self.send_response(302)
            self.send_header("Location", "/secret")
            self.end_headers()
            return
        found = self.path in ("/claims/x", "/secret")
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        if body:
            self.wfile.write(DATA)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests' output is not a log."""


@pytest.fixture
def storage() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
    Storage.stopped.clear()
    Storage.asked.clear()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/claims"
    Storage.stopped.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_claim_over_http_is_settled(storage: str) -> None:
    settled = claims(storage).settle(request(f"{storage}/x"))
    assert settled.inputs["x"].array.tolist() == [[0.0, 1.0, 2.0, 3.0]]


def test_claim_over_http_that_is_not_there_is_refused(storage: str) -> None:
    assert isinstance(refusal(claims(storage), request(f"{storage}/y")), SchemaInvalid)


def test_claim_over_http_that_leads_elsewhere_is_refused(storage: str) -> None:
    refusal(claims(storage), request(f"{storage}/away"))
    assert "/secret" not in Storage.asked


def test_claim_that_takes_too_long_is_not_available(storage: str) -> None:
    error = refusal(claims(storage, timeout_s=0.2), request(f"{storage}/slow"))
    assert isinstance(error, BackendUnavailable)
    assert "in time" in str(error)
