"""The audit log's witness.

A section of `schemas/settings.py`, which reads it; a field's description is its documentation.
"""

from pathlib import Path

from pydantic import Field, SecretStr

from chimera.schemas.section import Section


class WitnessSettings(Section):
    name: str | None = Field(
        default=None,
        description="what the witness is called under checkpoints, like example.com/witness: a URL"
        " without a scheme, which need not lead anywhere; never changed later",
    )
    logs: tuple[str, ...] = Field(
        default=(),
        description="public keys (C2SP vkeys) of the logs that it cosigns; several of one log while"
        " a key is replaced",
    )
    key_file: Path = Field(
        default=Path(".chimera/witness/key.pem"),
        description="private key (Ed25519, PEM, mode 0600), used for nothing else; made by"
        " `chimera witness --make-key`",
    )
    key: SecretStr | None = Field(
        default=None,
        description="the private key itself, as PEM; wins over the file; never logged",
    )
    database: Path = Field(
        default=Path(".chimera/witness/witness.sqlite"),
        description="the last checkpoint of each log; a witness that loses it can be taken back",
    )
    host: str = Field(default="127.0.0.1", description="where it listens")
    port: int = Field(default=8025, ge=0, le=65_535, description="its HTTP port; 0: a free one")
