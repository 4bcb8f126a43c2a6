"""Policies as text: the specification's shape, and every line that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint, log_key
from chimera.schemas.transparency.cosignatures import witness_key
from chimera.schemas.transparency.merkle import EMPTY_ROOT, MAX_SIZE
from chimera.schemas.transparency.policy import Group, LogKey
from chimera.schemas.transparency.policy_file import decode
from tests.schemas.transparency.logs import KEY, ORIGIN, OTHER_KEY, WITNESSES

LOG, NEXT = log_key(ORIGIN, KEY).text, log_key(ORIGIN, OTHER_KEY).text
W1, W2, W3 = (witness_key(f"witness.example/{name}", key).text for name, key in WITNESSES.items())
WHOLE = f"""\
# whom we believe
log {LOG} sizes:0-5000
\tlog   {NEXT}\tsizes:5000-

witness X1 {W1} https://witness.example/1
witness X2 {W2}
witness Y {W3}
group X 1 X1 X2
group X-and-Y all X Y
quorum X-and-Y
"""


def test_policy_is_read() -> None:
    policy = decode(WHOLE.encode(), "p")
    old, new = log_key(ORIGIN, KEY), log_key(ORIGIN, OTHER_KEY)
    assert policy.logs == (LogKey(old, 0, 5_000), LogKey(new, 5_000, MAX_SIZE))
    assert {name: key.text for name, key in policy.witnesses.items()} == {
        "X1": W1,
        "X2": W2,
        "Y": W3,
    }
    assert policy.groups == {"X": Group(1, ("X1", "X2")), "X-and-Y": Group(2, ("X", "Y"))}
    assert policy.quorum == "X-and-Y"


def test_words_are_thresholds() -> None:
    text = f"witness a {W1}\nwitness b {W2}\ngroup any any a\ngroup all all b any\nquorum all\n"
    assert decode(text.encode(), "p").groups == {
        "any": Group(1, ("a",)),
        "all": Group(2, ("b", "any")),
    }


def test_policy_without_witnesses_asks_for_none() -> None:
    policy = decode(f"log {LOG} https://log.example\nquorum none".encode(), "p")
    assert policy.logs == (LogKey(log_key(ORIGIN, KEY)),)
    assert policy.quorum == "none"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "no quorum"),
        ("log", "line 1"),
        (f"log {LOG} a b", "line 1"),
        (f"log {W1}\nquorum none", "line 1.*key for cosignatures"),
        (f"log {LOG}\nlog {LOG}", "line 2.*already"),
        (f"log {LOG} sizes:5-4", "line 1.*no size"),
        (f"log {LOG} sizes:5", "line 1.*should be"),
        (f"witness a {LOG}", "line 1.*key for notes"),
        (f"witness a {W1}\nwitness a {W2}", "line 2.*taken"),
        (f"witness a {W1}\nwitness b {W1}", "line 2.*already"),
        (f"witness none {W1}", "line 1.*taken"),
        (f"witness a {W1}\ngroup g 2 a", "line 2.*1 to 1"),
        (f"witness a {W1}\ngroup g 0 a", "line 2.*1 to 1"),
        (f"witness a {W1}\ngroup g some a", "line 2.*1 to 1"),
        (f"witness a {W1}\ngroup g any", "line 2"),
        (f"witness a {W1}\ngroup g any a a", "line 2.*member already"),
        (f"witness a {W1}\ngroup g any a\ngroup h any a", "line 3.*member already"),
        ("group g any none", "line 1.*line before"),
        ("quorum a", "line 1.*line before"),
        ("quorum none\nquorum none", "line 2.*second"),
        ("quorum none\r\n", "line 1.*control"),
        ("quorum none\n\x7f", "line 2.*control"),
        ("Quorum none", "line 1"),
    ],
)
def test_what_is_no_policy_is_refused_by_its_line(text: str, line: str) -> None:
    with pytest.raises(EvidenceMalformed, match=f"^p.*{line}"):
        decode(text.encode(), "p")


def nested(depth: int) -> bytes:
    groups = (f"group g{at} any {'w' if at == 0 else f'g{at - 1}'}\n" for at in range(depth))
    return f"log {LOG}\nwitness w {W1}\n{''.join(groups)}quorum g{depth - 1}\n".encode()


def test_groups_may_be_as_deep_as_there_may_be_groups() -> None:
    raw = checkpoints.sign(Checkpoint(ORIGIN, 0, EMPTY_ROOT), KEY).encode()
    assert not decode(nested(64), "p").open(raw).is_witnessed
    with pytest.raises(EvidenceMalformed, match="more than 64"):
        decode(nested(65), "p")


@given(st.data())
def test_policy_after_an_accident_is_one_or_is_refused(data: st.DataObject) -> None:
    raw = WHOLE.encode()
    at = data.draw(st.integers(0, len(raw) - 1))
    wrong = raw[:at] + data.draw(st.binary(max_size=3)) + raw[at + data.draw(st.integers(0, 9)) :]
    try:
        decode(wrong, "p")
    except EvidenceMalformed as error:
        assert str(error).startswith("p")


@given(st.binary(max_size=100))
def test_any_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceMalformed, match="^p"):
        decode(raw, "p")
