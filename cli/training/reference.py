"""`chimera train reference`: every field of a training configuration, as Markdown.

`docs/training-config.md` is its output; `tests/cli/test_train_reference.py` keeps them equal.
"""

import json
from collections.abc import Iterator
from typing import Any

import typer

BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "over {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {}",
}
LARGEST = 2**31 - 1  # of any count: nobody comes near it
HEAD = """# A training configuration, field by field

Made by `make docs` from the descriptions in `schemas/training_config.py`; a test keeps it equal.

YAML or JSON, of 1,048,576 characters and 200,000 values at most, each alias counted as what it stands for; names that are not here are refused. `null` unsets. How runs are started: `docs/training.md`.
"""

Schema = dict[str, Any]


def reference() -> None:
    """Print docs/training-config.md: what may stand in a configuration."""
    typer.echo(page(), nl=False)


def page() -> str:
    """The documentation of every field, a section after the other."""
    import msgspec

    from chimera.schemas.training_config import TrainingConfig

    whole = msgspec.json.schema(TrainingConfig)
    parts: dict[str, Schema] = whole["$defs"]
    lines = [HEAD]
    for section, part in _sections("", parts["TrainingConfig"], parts):
        title = f"## `{section}`" if section else "## The order itself"
        lines += [title, "", part["description"], ""]
        lines += ["| field | what | default | meaning |", "|---|---|---|---|"]
        required = part.get("required", ())
        for name, field in part["properties"].items():
            default = "required" if name in required else _default(field, parts)
            about = field["description"]
            lines.append(f"| `{name}` | {_kind(field, parts)} | {default} | {about} |")
        lines.append("")
    return "\n".join(lines)


def _sections(where: str, part: Schema, parts: dict[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """A section, then those inside of it, by their paths."""
    yield where, part
    for name, field in part["properties"].items():
        for inside, mark in ((_section(field, parts), ""), (_values(field, parts), ".<column>")):
            if inside is not None:
                yield from _sections(f"{where}.{name}{mark}".lstrip("."), inside, parts)


def _section(field: Schema, parts: dict[str, Schema]) -> Schema | None:
    found = [one["$ref"] for one in (field, *_choices(field)) if "$ref" in one]
    return parts[found[0].rpartition("/")[2]] if found else None


def _values(field: Schema, parts: dict[str, Schema]) -> Schema | None:
    """What each value of a mapping is, where it is a section."""
    more: Schema | bool = field.get("additionalProperties", False)
    return None if isinstance(more, bool) else _section(more, parts)


def _choices(field: Schema) -> list[Schema]:
    found: list[Schema] = field.get("anyOf", []) + field.get("allOf", [])
    return found


def _kind(field: Schema, parts: dict[str, Schema]) -> str:
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"] if one is not None)
    if _section(field, parts) is not None:
        return "a section"
    if "anyOf" in field:
        kinds = (_kind(one, parts) for one in field["anyOf"] if one.get("type") != "null")
        return " or ".join(dict.fromkeys(kinds))
    kind = {"array": "list", "object": "mapping", "string": "text"}.get(field["type"])
    bounds = [
        text.format(field[name])
        for name, text in BOUNDS.items()
        if name in field and field[name] != LARGEST
    ]
    return ", ".join([kind or field["type"], *bounds])


def _default(field: Schema, parts: dict[str, Schema]) -> str:
    found = field.get("default")
    if found is None and "default" in field:
        return "unset"
    if _section(field, parts) is not None:
        return "as below"
    return f"`{json.dumps(found)}`" if found not in ({}, [], None) else "none"
