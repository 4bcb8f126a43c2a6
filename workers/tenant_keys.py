"""Tenants' keys for commitments, as the files that destroy what they stand for when they go.

A key is looked for again after a while, so that a new one is used soon, and one that was destroyed
is forgotten soon. A file that others may read, or that has another size, is not used, and said.
`tests/workers/test_tenant_keys.py`.
"""

import os
import time
from pathlib import Path

import structlog

from chimera.schemas.commitments import KEY_BYTES, Commitments
from chimera.schemas.manifest import is_name

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 10.0
MAX_KNOWN = 4_096
_OTHERS = 0o077


class TenantKeys:
    """Those of one folder, `<tenant>.key` each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[float, bytes, Commitments | None]] = {}

    def of(self, tenant: str) -> Commitments | None:
        """None: the tenant has no key."""
        now = time.monotonic()
        until, raw, found = self._known.get(tenant, (0.0, b"", None))
        if now >= until:
            read = self._read(tenant)
            if read != raw:
                found = Commitments(read) if read else None
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[tenant] = now + LOOK_AGAIN_S, read, found
        return found

    def _read(self, tenant: str) -> bytes:
        """Empty: there is none that may be used."""
        if not is_name(tenant):
            return b""
        path = self._folder.expanduser() / f"{tenant}.key"
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o777
                raw = file.read(KEY_BYTES + 1)
        except FileNotFoundError:
            return b""
        except OSError as error:
            log.error("tenant_key_not_read", file=str(path), reason=error.strerror)
            return b""
        if mode & _OTHERS or len(raw) != KEY_BYTES:
            log.error("tenant_key_not_used", file=str(path), mode=f"{mode:04o}", size=len(raw))
            return b""
        return raw
