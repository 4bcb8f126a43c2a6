"""What models, versions, tenants and artifacts are called in records of the topics `models.*`.

The key of all three topics is `<tenant>/<model>`: records of one model stay in order, and the
compacted `models.state` keeps the last of each. `tests/schemas/test_model_names.py`.
"""

from typing import Annotated

import msgspec

from chimera.schemas.errors import SchemaInvalid
from chimera.schemas.manifest import is_name

_END = r"(?![\s\S])"  # `$` would let a line break pass

Name = Annotated[str, msgspec.Meta(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,127}}{_END}")]
Sha256 = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{64}}{_END}")]
Actor = Annotated[  # without control characters: Postgres takes no NUL, and a log no line break
    str, msgspec.Meta(min_length=1, max_length=255, pattern=rf"^[^\x00-\x1f\x7f]+{_END}")
]
Reason = Annotated[str, msgspec.Meta(max_length=4_096)]
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2_048)]
Weight = Annotated[float, msgspec.Meta(gt=0, le=1e6)]  # against those of the other versions
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # since the epoch

DEFAULT_TENANT = "default"  # made with the registry's tables


def key(tenant: str, model: str) -> bytes:
    """Of all records of one model."""
    return f"{tenant}/{model}".encode()


def read_key(raw: bytes | None) -> tuple[str, str]:
    """Tenant and model.

    Raises:
        SchemaInvalid: it is no such key.
    """
    parts = (raw or b"").decode("utf-8", "replace").split("/")
    if len(parts) != 2 or not all(map(is_name, parts)):
        raise SchemaInvalid(f"a key of models.* is <tenant>/<model>, not {raw!r}")
    return parts[0], parts[1]
