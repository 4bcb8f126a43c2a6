"""The import path of a torch definition, and the list of those that may be imported.

Importing runs code, so a manifest names a definition only from a list that the operator wrote:
`package.module:name` is that one, `package.module:*` all of one module, never of those below it.
Nothing is imported here. `tests/schemas/test_definitions.py` tries the ways around.
"""

import re
from collections.abc import Iterable

from chimera.schemas.errors import ConfigurationError, ModelRefused

_PART = r"[A-Za-z][A-Za-z0-9_]*"  # ASCII: look-alikes are no names here; no leading underscore
_PATH = re.compile(rf"({_PART}(?:\.{_PART})*):({_PART})")
_RULE = re.compile(rf"{_PART}(?:\.{_PART})*:(?:{_PART}|\*)")


def is_definition(text: str) -> bool:
    """Whether it has the form `package.module:factory`."""
    return _PATH.fullmatch(text) is not None


def require_allowed(
    definition: str, allowed: Iterable[str], setting: str = "CHIMERA_ARTIFACTS__DEFINITIONS"
) -> None:
    """Refuse what is on no line of the list, which `setting` holds.

    Raises:
        ModelRefused: the definition is not on the list.
        ConfigurationError: a line of the list is none.
    """
    rules = frozenset(allowed)
    for rule in rules:
        if not _RULE.fullmatch(rule):
            raise ConfigurationError(f"{setting}: {rule!r} should be package.module:name or :*")
    found = _PATH.fullmatch(definition)
    if found is None or rules.isdisjoint((definition, f"{found[1]}:*")):
        raise ModelRefused(
            f"definition {definition!r} is not in {setting}, the list of what may be imported"
        )
