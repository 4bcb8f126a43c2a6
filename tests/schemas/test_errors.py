import pickle

import pytest

from chimera.schemas import errors
from chimera.schemas.errors import BY_CODE, REQUEST_ERRORS, ChimeraError, RequestError

CODES = {
    "malformed",
    "schema_invalid",
    "bad_signature",
    "unauthorised",
    "rate_limited",
    "unknown_model",
    "deadline_exceeded",
    "shed",
    "backend_unavailable",
    "model_error",
    "out_of_memory",
    "worker_crashed",
    "too_large",
}
RETRIABLE = {"rate_limited", "shed", "backend_unavailable", "model_error"}


def test_codes_are_the_closed_set() -> None:
    assert {error.code for error in REQUEST_ERRORS} == CODES
    assert len(REQUEST_ERRORS) == len(BY_CODE) == 13


def test_codes_that_are_retriable() -> None:
    assert {error.code for error in REQUEST_ERRORS if error.retriable} == RETRIABLE


def test_every_request_error_stands_in_the_tuple() -> None:
    assert set(REQUEST_ERRORS) == set(RequestError.__subclasses__())


@pytest.mark.parametrize("error", REQUEST_ERRORS)
def test_error_is_found_by_its_code_and_drawn_in_the_tree(error: type[RequestError]) -> None:
    assert BY_CODE[error.code] is error
    tree = errors.__doc__ or ""
    line = next(line for line in tree.splitlines() if f" {error.__name__} " in line)
    assert line.endswith(f" {error.code}")
    assert ("retriable" in line) == error.retriable


def test_order_of_codes_is_that_of_the_wire() -> None:
    """Outcomes carry an index into the tuple: a new code goes to its end."""
    assert [error.code for error in REQUEST_ERRORS][::6] == [
        "malformed",
        "deadline_exceeded",
        "too_large",
    ]


def test_error_tells_its_message() -> None:
    error = BY_CODE["schema_invalid"]("input 'x' is missing")
    assert isinstance(error, ChimeraError)
    assert str(pickle.loads(pickle.dumps(error))) == "input 'x' is missing"


def test_every_error_is_drawn_below_its_parent() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if "── " in line]
    indents = {line.split("── ")[1].split()[0]: line.index("── ") for line in lines}
    for error in vars(errors).values():
        if (
            isinstance(error, type)
            and issubclass(error, ChimeraError)
            and error is not ChimeraError
        ):
            above = indents.get(error.__bases__[0].__name__, 1)
            assert indents[error.__name__] == above + 4, error
