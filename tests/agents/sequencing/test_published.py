"""Whose checkpoints a log goes on from."""

import pytest

from chimera.agents.sequencing.published import believed
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.transparency.checkpoints import log_key
from tests.schemas.transparency.logs import KEY, ORIGIN, OTHER_KEY


def test_earlier_keys_are_believed_beside_the_own() -> None:
    assert believed(KEY, []) == [KEY.public.raw]
    found = believed(KEY, [log_key(ORIGIN, OTHER_KEY).text])
    assert found == [KEY.public.raw, OTHER_KEY.public.raw]


def test_earlier_key_that_is_none_is_told() -> None:
    with pytest.raises(ConfigurationError, match="CHIMERA_AUDIT__EARLIER_KEYS"):
        believed(KEY, ["nobody"])
