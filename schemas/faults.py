"""All that is wrong with a value that should be a struct, field by field; msgspec stops at the first.

Pure. `tests/schemas/test_training_triggers.py`.
"""

from collections.abc import Iterator
from typing import Any, TypeGuard, get_args

import msgspec
from msgspec.structs import fields


def faults(found: Any, kind: type[msgspec.Struct], path: str = "$") -> list[str]:
    """Of `found`, as JSON or YAML gave it, by path; none: it is one."""
    if not _is_object(found):
        return list(_refused(found, kind, path))
    said = [*_of_fields(found, kind, path), *_unknown(found, kind, path)]
    return said or list(_refused(found, kind, path))  # what only the whole can be wrong in


def _of_fields(found: dict[Any, Any], kind: type[msgspec.Struct], path: str) -> Iterator[str]:
    for one in fields(kind):
        where = f"{path}.{one.encode_name}"
        if one.encode_name in found:
            yield from _of(found[one.encode_name], one.type, where)
        elif one.required:
            yield f"{where}: is missing"


def _unknown(found: dict[Any, Any], kind: type[msgspec.Struct], path: str) -> Iterator[str]:
    if kind.__struct_config__.forbid_unknown_fields:
        known = {one.encode_name for one in fields(kind)}
        yield from (f"{path}.{name}: is no field" for name in found if name not in known)


def _of(found: Any, kind: Any, path: str) -> Iterator[str]:
    structs = [one for one in (kind, *get_args(kind)) if _is_struct(one)]
    if _is_object(found) and len(structs) == 1:
        yield from faults(found, structs[0], path)
    else:
        yield from _refused(found, kind, path)


def _refused(found: Any, kind: Any, path: str) -> Iterator[str]:
    try:
        msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        yield f"{path}: {error}"


def _is_object(found: Any) -> TypeGuard[dict[Any, Any]]:
    return isinstance(found, dict)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
