import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.claims import Claim, folder, require_allowed
from chimera.schemas.errors import ConfigurationError, SchemaInvalid
from chimera.schemas.tensors import layout

PREFIXES = ("s3://bucket/claims", "file:///srv/claims/", "https://host:8443/a")


def claim(url: str) -> Claim:
    return Claim("x", layout("FP32", (2,)), url, "0" * 64, 8)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/claims/x",
        "s3://bucket/claims/2025/11/x_1+y=2,z.bin",
        "file:///srv/claims/x",
        "https://host:8443/a/b/c..d",
        "s3://bucket/claims/...",
    ],
)
def test_url_below_a_prefix_is_allowed(url: str) -> None:
    others = [prefix for prefix in PREFIXES if not url.startswith(prefix)]
    require_allowed(claim(url), PREFIXES)
    with pytest.raises(SchemaInvalid, match="no prefix"):
        require_allowed(claim(url), others)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "/srv/claims/x",
        "srv/claims/x",
        "S3://bucket/claims/x",
        "s3://bucket/claims",  # the prefix itself
        "s3://bucket/claims/",
        "s3://bucket/claims-of-others/x",  # a prefix without its slash is no prefix
        "s3://bucket/claims2/x",
        "s3://bucket/other/x",
        "s3://bucket/x",
        "https://host:8443.evil.org/a/x",
        "https://host:84430/a/x",
        "https://host:8443@evil.org/a/x",
        "https://user:password@host:8443/a/x",
        "http://host:8443/a/x",
        "file:///srv/claims/../secrets/x",
        "file:///srv/claims/./x",
        "file:///srv/claims/a/..",
        "file:///srv/claims//x",
        "file:////srv/claims/x",
        "file:///srv/claims/%2e%2e/x",
        "file:///srv/claims/..%2fx",
        "file:///srv/claims/..\\x",
        "file:///srv/claims/~/x",
        "file:///srv/claims/*",
        "file:///srv/claims/[a]",
        "file:///srv/claims/x?y",
        "file:///srv/claims/x#y",
        "file:///srv/claims/x\0",
        "file:///srv/claims/x\n",
        "file:///srv/claims/ x",
        "file:///srv/claims/\u2024\u2024/x",
        "file:///srv/claims/é",
        "file:///srv/claims/a.zip::http://evil.org/x",
        "simplecache::s3://bucket/claims/x",
        "zip://x::s3://bucket/claims/a.zip",
        "s3://bucket/claims/x::file",
        " s3://bucket/claims/x",
        "file://localhost/srv/claims/x",
    ],
)
def test_url_that_leads_around_the_prefixes_is_refused(url: str) -> None:
    with pytest.raises(SchemaInvalid, match="claim_url"):
        require_allowed(claim(url), PREFIXES)


@given(st.text("abc./%:?#@~*\\[]-", max_size=12))
def test_url_that_is_allowed_stays_below_its_prefix(rest: str) -> None:
    try:
        require_allowed(claim(f"file:///srv/claims/{rest}"), PREFIXES)
    except SchemaInvalid as error:
        assert "claim_url" in str(error)
        return
    parts = rest.split("/")
    assert all(part not in ("", ".", "..") for part in parts)
    assert set(rest) <= set("abc./:-")


def test_no_prefix_allows_nothing() -> None:
    with pytest.raises(SchemaInvalid, match="no prefix"):
        require_allowed(claim("s3://bucket/claims/x"), ())


@pytest.mark.parametrize("prefix", ["", "/", "s3", "s3://", "file:///", "/srv/claims", "S3://b/"])
def test_prefix_that_names_no_place_is_a_configuration_error(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="CLAIM_PREFIXES"):
        folder(prefix)


def test_message_about_a_long_url_is_short() -> None:
    with pytest.raises(SchemaInvalid) as caught:
        require_allowed(claim("s3://bucket/" + "x" * 2_000), PREFIXES)
    assert len(str(caught.value)) < 200
