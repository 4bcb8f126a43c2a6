"""How what happened is kept: the journal.

Sections of `schemas/settings.py`, which reads them; a field's description is its documentation.
"""

from pathlib import Path

from pydantic import Field

from chimera.schemas.section import Section


class JournalSettings(Section):
    enabled: bool = Field(
        default=False,
        description="write a row about each request to inference.journal, in the transaction of its"
        " result; off until something reads it",
    )
    keys_dir: Path = Field(
        default=Path(".chimera/keys/tenants"),
        description="<tenant>.key, 32 bytes, mode 0600: rows of tenants that have one commit to the"
        " bytes of request and result; whoever destroys it erases what they stand for",
    )
