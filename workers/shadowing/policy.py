"""What shadows may take of an executor: see the settings of the same names."""

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from chimera.schemas.settings import Settings


class Policy(msgspec.Struct, frozen=True):
    batch_us: int = 2_000
    backlog_rows: int = 4_096
    backlog_bytes: int = 33_554_432

    @classmethod
    def of(cls, settings: "Settings") -> "Policy":
        shadows = settings.shadows
        batch_us = round(shadows.batch_ms * 1000)
        return cls(batch_us, shadows.backlog_rows, shadows.backlog_bytes)
