"""YAML as plain values, of no more than an order has: others write it, and an agent reads it.

What an alias stands for counts as if it were written out, each time: a few hundred bytes of aliases of
aliases ("a billion laughs") stand for gigabytes, and merges (`<<`) make them while they are read. All is
counted as the text is scanned, before anything is made of it. `tests/schemas/test_bounded_yaml.py`.
"""

from typing import Any, cast

import yaml

from chimera.schemas.errors import ConfigurationError

MAX_CHARACTERS = 1 << 20
MAX_VALUES = 200_000  # 120 MB while they are read: each knows where it stood
MAX_INTEGER = 4_300  # characters; Python's own limit for decimal ones, and 1:30 is one of base 60

_NO_YAML = (  # what PyYAML raises of 2024-13-45, of `!!int ""`, of brackets without end
    yaml.YAMLError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
)


def load(text: str) -> Any:
    """The one document of a text.

    Raises:
        ConfigurationError: it is no YAML, has tags of its own, names a value inside of itself, or is
            too much.
    """
    _require_small(len(text), 0)
    try:
        return yaml.load(text, Loader=_Counting)  # a safe loader
    except _NO_YAML as error:
        raise ConfigurationError(f"{error}") from None


class _Counting(yaml.SafeLoader):
    """Counts what is composed, event by event."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._characters = self._values = 0
        self._named: dict[str | None, tuple[int, int]] = {}  # what each anchor's value counts
        self._open: list[tuple[str | None, int, int]] = []

    def get_event(self) -> yaml.Event:
        event = cast("yaml.Event", super().get_event())  # type: ignore[no-untyped-call]  # has no types
        if isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, *_ in self._open):
                raise ConfigurationError(
                    f"*{event.anchor} inside of itself: it is nested too deeply"
                )
            self._count(*self._named.get(event.anchor, (0, 0)))  # one of nothing is told as such
        elif isinstance(event, yaml.ScalarEvent):
            self._begin(event)
            self._count(len(event.value), 1)
            self._end()
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)
            self._count(0, 1)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        return event

    def _begin(self, event: yaml.NodeEvent) -> None:
        self._open.append((event.anchor, self._characters, self._values))

    def _end(self) -> None:
        anchor, characters, values = self._open.pop()
        if anchor is not None:
            self._named[anchor] = self._characters - characters, self._values - values

    def _count(self, characters: int, values: int) -> None:
        self._characters += characters
        self._values += values
        _require_small(self._characters, self._values)


def _integer(loader: _Counting, node: yaml.ScalarNode) -> int:
    if len(node.value) > MAX_INTEGER:
        raise ConfigurationError(f"an integer of more than {MAX_INTEGER:,} characters")
    return loader.construct_yaml_int(node)


_Counting.add_constructor("tag:yaml.org,2002:int", _integer)


def _require_small(characters: int, values: int) -> None:
    for found, limit, what in (
        (characters, MAX_CHARACTERS, "characters"),
        (values, MAX_VALUES, "values"),
    ):
        if found > limit:
            raise ConfigurationError(f"more than {limit:,} {what}, with what its aliases stand for")
