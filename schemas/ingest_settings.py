"""How served traffic becomes training data.

A section of `schemas/settings.py`, which reads it; a field's description is its documentation.
"""

from pathlib import Path

from pydantic import Field

from chimera.schemas.section import Section


class IngestSettings(Section):
    dir: Path = Field(
        default=Path(".chimera/samples"),
        description="folder of labelled samples as Parquet, by model and day, and of the state that"
        " goes with them; one `chimera ingest` at a time",
    )
    window_s: int = Field(
        default=259_200,
        ge=1,
        description="a label counts that was observed so soon after its request; shorter than the"
        " retention of inference.requests, which inputs are read from",
    )
    commit_records: int = Field(
        default=4_096,
        ge=1,
        description="records that one commit covers; inputs of all its labels are in memory",
    )
    commit_bytes: int = Field(
        default=268_435_456,
        ge=1,
        description="bytes of tensors in one commit, data of claim checks among them, beyond which"
        " the next label goes into another",
    )
