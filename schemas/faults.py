"""All that is wrong with a value that should be a struct, field by field; msgspec stops at the first.

Pure. `tests/schemas/test_training_triggers.py`.
"""

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
from msgspec.structs import fields


def faults(found: object, kind: type[msgspec.Struct], path: str = "$") -> Iterator[str]:
    """Of `found`, as JSON or YAML gave it, by path; nothing: it is one."""
    if not isinstance(found, dict):
        yield from _refused(found, kind, path)
        return
    known = {one.encode_name: one for one in fields(kind)}
    before = len(known)
    said = False
    for name, one in known.items():
        where = f"{path}.{name}"
        if name in found:
            for fault in _of(found[name], one.type, where):
                said = True
                yield fault
        elif one.required:
            said = True
            yield f"{where}: is missing"
    if kind.__struct_config__.forbid_unknown_fields:
        for name in found:
            if name not in known:
                said = True
                yield f"{path}.{name}: is no field"
    if not said and before:  # what only the whole can be wrong in
        yield from _refused(found, kind, path)


def _of(found: object, kind: Any, path: str) -> Iterator[str]:
    structs = [one for one in (kind, *get_args(kind)) if _is_struct(one)]
    if isinstance(found, dict) and len(structs) == 1:
        yield from faults(found, structs[0], path)
    else:
        yield from _refused(found, kind, path)


def _refused(found: object, kind: Any, path: str) -> Iterator[str]:
    try:
        msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        yield f"{path}: {error}"


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
