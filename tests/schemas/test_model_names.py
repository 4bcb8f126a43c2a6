import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import SchemaInvalid
from chimera.schemas.manifest import is_name
from chimera.schemas.model_names import Name, Sha256, key, read_key

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)


@given(NAMES, NAMES)
def test_key_is_read_as_it_was_written(tenant: str, model: str) -> None:
    assert read_key(key(tenant, model)) == (tenant, model)


@pytest.mark.parametrize(
    "raw", [None, b"", b"digits", b"/digits", b"a/", b"a/b/c", b"a/\xff", b"a/b\n"]
)
def test_key_that_is_none_is_refused(raw: bytes | None) -> None:
    with pytest.raises(SchemaInvalid, match="<tenant>/<model>"):
        read_key(raw)


@given(st.text(max_size=130) | NAMES | NAMES.map(lambda name: name + "\n"))
def test_names_of_records_are_those_of_manifests(text: str) -> None:
    try:
        msgspec.convert(text, Name)
        accepted = True
    except msgspec.ValidationError:
        accepted = False
    assert accepted == is_name(text)


@pytest.mark.parametrize("text", ["", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"])
def test_digest_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Sha256)
